"""Which live manifests list blocks that no row names: what is left to ask after the index was made again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from blockstore.errors import Damaged, DataRefused, Missing
from blockstore.manifest import ManifestFile
from blockstore.marks import Marks, compare
from blockstore.roots import path_of
from blockstore.verify_manifests import users_of

if TYPE_CHECKING:
    from blockstore.bare_store import BareStore
    from blockstore.progress import Progress
    from blockstore.roots import Roots


def missing_blocks(store: BareStore, roots: Roots, progress: Progress) -> dict[str, int]:
    """Live manifests by name, with how many of the blocks they list have no row; 0 for one that can't be read."""
    found: dict[str, int] = {}
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
                found[root.name] = 0
            progress.moved(done)
        missing = [part.missing for part in compare(store.index.rows(), marks) if len(part.missing)]
    finally:
        marks.close()
    if missing:
        for name, hits in users_of(roots, store.root, np.concatenate(missing)):
            found[name] = found.get(name, 0) + len(hits)
    return found
