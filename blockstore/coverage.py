"""Which blocks that live manifests list no row names, or only where they are damaged."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blockstore.errors import Damaged, DataRefused, Missing
from blockstore.manifest import ManifestFile
from blockstore.marks import MARK, Marks, compare
from blockstore.roots import path_of
from blockstore.verify_manifests import users_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.progress import Progress
    from blockstore.roots import Roots


@dataclass(frozen=True, slots=True)
class Lost:
    """Blocks that cannot be read; and the live manifests that cannot, whose blocks are not known."""

    blocks: frozenset[bytes]
    unreadable: Sequence[str]


def lost_blocks(store: BareStore, roots: Roots, progress: Progress) -> Lost:
    """The blocks that live manifests list and that are marked as damaged or have no row."""
    found = {name for name, _ in store.index.bad_rows()}
    missing, unreadable = _without_row(store, roots, progress)
    if len(missing):
        for _, hits in users_of(roots, store.root, missing):
            digests = [hit.tobytes() for hit in hits]
            places = store.index.get_many(digests, hidden=True)
            found |= {digest for digest, place in zip(digests, places, strict=True) if place is None}
    return Lost(frozenset(found), unreadable)


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
