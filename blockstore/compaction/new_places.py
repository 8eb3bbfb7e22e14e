"""The files of places beside manifests, made again after blocks have moved: reads then need no index, as before.

They are hints (`places.py`): a file is written under a name of its own and renamed over the old one, never synced, and
what goes wrong leaves the old one or none. One that is left over is nobody's, and goes with the next collection.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from blockstore.block import Place
from blockstore.errors import BlockstoreError
from blockstore.manifest import ManifestFile
from blockstore.names import new_name
from blockstore.places import SUFFIX, PlacesWriter, beside
from blockstore.roots import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.roots import ManifestRoot, Roots


def renew_places(store: BareStore, roots: Roots, left: AbstractSet[int]) -> int:
    """Make those again that name packs that are gone, or that blocks have `left`; gives how many."""
    known = np.array([record.number for record in store.index.packs() if record.number not in left], dtype=np.uint32)
    return sum(
        _renewed(store, root, known) for root in roots.live.values() if beside(path_of(store.root, root.name)).exists()
    )


def _renewed(store: BareStore, root: ManifestRoot, known: NDArray[np.uint32]) -> bool:
    path = path_of(store.root, root.name)
    new = path.with_name(new_name().hex() + SUFFIX)
    try:
        with contextlib.closing(ManifestFile(path, root.digest)) as manifest:
            if not any(_astray(manifest, at, known).any() for at in range(manifest.header.leaves)):
                return False
            _write(store, new, (_leaf(store, manifest, at, known) for at in range(manifest.header.leaves)))
        # A manifest that is removed right now leaves a file without one, which goes as such.
        store.disk.rename(new, beside(path))
    except BlockstoreError:
        with contextlib.suppress(BlockstoreError):
            store.disk.unlink(new)
        return False
    return True


def _astray(manifest: ManifestFile, at: int, known: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which rows of a leaf have a place that need not be right any more."""
    packs = manifest.places_at(at)[:, 0]
    return np.asarray((packs != 0) & ~np.isin(packs, known))


def _leaf(store: BareStore, manifest: ManifestFile, at: int, known: NDArray[np.uint32]) -> NDArray[np.uint32]:
    places, astray = manifest.places_at(at), _astray(manifest, at, known)
    if astray.any():
        names = [name.tobytes() for name in manifest.leaf_at(at)["digest"][astray]]
        found = store.index.get_many(names, hidden=True)
        places[astray] = np.array([place or Place(0, 0, 0, 0) for place in found], dtype=np.uint32)
    return places


def _write(store: BareStore, path: Path, leaves: Iterator[NDArray[np.uint32]]) -> None:
    with contextlib.closing(PlacesWriter(path, store.disk)) as writer:
        for leaf in leaves:
            writer.add(leaf)
        writer.finish()
