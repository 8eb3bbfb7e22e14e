"""Which live manifests list blocks that no row names, and which blocks these are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from blockstore.errors import Damaged, DataRefused, Missing
from blockstore.manifest import ManifestFile
from blockstore.marks import MARK, Marks, compare
from blockstore.roots import path_of
from blockstore.verify_manifests import users_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.progress import Progress
    from blockstore.roots import Roots


def missing_blocks(store: BareStore, roots: Roots, progress: Progress) -> dict[str, int]:
    """Live manifests by name, with how many of the blocks they list have no row; 0 for one that can't be read."""
    missing, unreadable = _without_row(store, roots, progress)
    found = dict.fromkeys(unreadable, 0)
    if len(missing):
        for name, hits in users_of(roots, store.root, missing):
            found[name] = found.get(name, 0) + len(hits)
    return found


def lost_blocks(store: BareStore, roots: Roots, progress: Progress) -> frozenset[bytes]:
    """The blocks that live manifests list and that are marked as damaged or have no row."""
    found = {name for name, _ in store.index.bad_rows()}
    missing, _ = _without_row(store, roots, progress)
    if len(missing):
        for _, hits in users_of(roots, store.root, missing):
            digests = [hit.tobytes() for hit in hits]
            places = store.index.get_many(digests, hidden=True)
            found |= {digest for digest, place in zip(digests, places, strict=True) if place is None}
    return frozenset(found)


def _without_row(store: BareStore, roots: Roots, progress: Progress) -> tuple[NDArray[np.uint64], list[str]]:
    """Marks, ascending, of blocks without a row; and the manifests that can't be read."""
    unreadable = []
    marks = Marks()
    try:
        progress.begin("manifests", len(roots.live))
        for done, root in enumerate(roots.live.values(), 1):
            try:
                with contextlib.closing(ManifestFile(path_of(store.root, root.name), root.digest)) as manifest:
                    for names in manifest.digests():
                        marks.add(names)
            except (Damaged, Missing, DataRefused) as error:
                progress.note(str(error))
                unreadable.append(root.name)
            progress.moved(done)
        missing = [part.missing for part in compare(store.index.rows(), marks) if len(part.missing)]
    finally:
        marks.close()
    return np.concatenate(missing) if missing else np.empty(0, dtype=MARK), unreadable
