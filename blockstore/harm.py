"""Whom damage harms: the manifests through which a damaged block, or one that cannot be found, is read."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from blockstore import resolve
from blockstore.errors import Damaged, DataRefused, Missing, StoreUnavailable
from blockstore.manifest import ManifestFile, open_chain
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.marks import prefixes
from blockstore.roots import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.roots import ManifestRoot, Roots


def harmed_by(blocks: Iterable[bytes], tops: Iterable[str], roots: Roots, data: Path) -> dict[str, int]:
    """Of the manifests `tops`, each with its chain an image: those that show one of these blocks, and how often.

    0 for one that cannot be read. A block of a base that a newer manifest hides harms nobody.
    """
    suspects = _array(blocks)
    marks = np.sort(prefixes(suspects))
    hits = {root.name: keys for root in roots.live.values() if (keys := _leaves_with(root, marks, data)) != set()}
    harmed = {}
    for top in tops:
        chain = roots.chain(top)
        places = [hits.get(link.name, set()) for link in chain]
        if not any(place is None or place for place in places):
            continue
        # None: its leaves cannot be read, so all of the image is asked.
        keys = None if None in places else {key for place in places if place for key in place}
        try:
            count = _count(chain, keys, suspects, data)
        except (Damaged, Missing, DataRefused, StoreUnavailable):
            harmed[top] = 0
            continue
        if count:
            harmed[top] = count
    return harmed


def _array(blocks: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(sorted(set(blocks))), dtype=np.uint8).reshape(-1, 32)


def _leaves_with(root: ManifestRoot, marks: NDArray[np.uint64], data: Path) -> set[int] | None:
    """The keys of the manifest's own leaves that list one of `marks`; None if it cannot be read whole."""
    found = set()
    try:
        with contextlib.closing(_open(root, data)) as manifest:
            for at, key in enumerate(manifest.keys()):
                if len(marks) and np.isin(prefixes(manifest.leaf_at(at)["digest"]), marks).any():
                    found.add(key)
                elif not len(marks):
                    manifest.leaf_at(at)
    except (Damaged, Missing, DataRefused, StoreUnavailable):
        return None
    return found


def _count(links: Iterable[ManifestRoot], keys: set[int] | None, suspects: NDArray[np.uint8], data: Path) -> int:
    """How many blocks of the image are suspects, where its leaves with these keys are; all of them if None."""
    with contextlib.ExitStack() as stack:
        chain = open_chain([(path_of(data, link.name), link.digest) for link in links], _quiet)
        for manifest in chain:
            stack.callback(manifest.close)
        top = chain[0].header
        if not top.is_fixed:
            return sum(_hits(names, suspects) for names in chain[0].digests())
        last = max(0, top.blocks - 1) // LEAF_BLOCKS
        wanted = range(last + 1) if keys is None else sorted(key for key in keys if key <= last)
        return sum(_hits(resolve.resolve(chain, key)[0], suspects) for key in wanted if top.blocks)


def _hits(names: NDArray[np.uint8], suspects: NDArray[np.uint8]) -> int:
    if not len(suspects):
        return 0
    return int(np.isin(_whole(names), _whole(suspects)).sum())


def _whole(names: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(names).view("S32").ravel()


def _open(root: ManifestRoot, data: Path) -> ManifestFile:
    return ManifestFile(path_of(data, root.name), root.digest, _quiet)


def _quiet(_path: Path, _why: str) -> None:
    """A copy that is wrong harms nobody as long as the other is right."""
