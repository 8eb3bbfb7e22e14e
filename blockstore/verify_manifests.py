"""Checking manifests: every byte of both files, what the records say of it, and its chain."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import resolve
from blockstore.errors import Damaged, DataRefused, Missing, StoreUnavailable
from blockstore.manifest import ManifestFile, open_chain
from blockstore.manifest_copies import check_copy, copies_of
from blockstore.manifest_format import HEADER_SIZE, LEAF_BLOCKS, NO_BASE
from blockstore.manifest_leaf import row_of
from blockstore.marks import prefixes
from blockstore.pack_contents import Spot
from blockstore.roots import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.marks import Marks
    from blockstore.roots import ManifestRoot, Roots

MENDABLE: Final = "its other copy is right, so no image is harmed: `drystone admin scrub` mends this one"


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """A live manifest after its check: what is wrong in which file, and whether it can be read whole all the same.

    `single`: the store has one copy of it only.
    """

    wrong: Sequence[tuple[Path, Spot]]
    readable: bool
    single: bool


def check_manifest(root: ManifestRoot, roots: Roots, data: Path, store: bytes, marks: Marks) -> CheckedManifest:
    """Look at both copies of one live manifest; the blocks that it lists are added to `marks`."""
    path = path_of(data, root.name)
    copies = copies_of(path)
    in_copies = [(copy, spot) for copy in copies for spot in check_copy(copy, root.digest)]
    single = not all(copy.exists() for copy in copies)
    whole = list(_check_whole(root, roots, data, store, marks))
    if not whole:
        if not path.exists():
            in_copies.append((path, Spot(0, 0, "it is gone")))
        in_copies = [(copy, replace(spot, why=f"{spot.why}; {MENDABLE}")) for copy, spot in in_copies]
    known = {(spot.begins, spot.ends) for copy, spot in in_copies if copy == path}
    more = [(path, spot) for spot in whole if (spot.begins, spot.ends) not in known]
    return CheckedManifest([*in_copies, *more], readable=not whole, single=single)


def _check_whole(root: ManifestRoot, roots: Roots, data: Path, store: bytes, marks: Marks) -> Iterator[Spot]:
    """What keeps the manifest from being read, from whichever copy, and what else it says that is not so."""
    path = path_of(data, root.name)
    try:
        manifest = _open(data, root)
    except (Damaged, Missing, DataRefused, StoreUnavailable) as error:
        yield Spot(0, path.stat().st_size if path.exists() else 0, str(error))
        return
    with contextlib.closing(manifest):
        yield from _check_record(manifest, root, roots, store)
        for number, (begins, count) in enumerate(manifest.leaf_places()):
            try:
                names = manifest.leaf_at(number)["digest"]
            except (Damaged, StoreUnavailable) as error:
                yield Spot(begins, begins + count * row_of(manifest.header).itemsize, str(error))
                continue
            marks.add(names[names.any(axis=1)])
    if root.base is not None:
        yield from _check_chain(roots.chain(root.name), data)


def _check_record(manifest: ManifestFile, root: ManifestRoot, roots: Roots, store: bytes) -> Iterator[Spot]:
    header = manifest.header
    base = roots.live.get(root.base) if root.base is not None else None
    if root.base is not None and base is None:
        yield Spot(0, HEADER_SIZE, f"its base {root.base} is not live in the catalog")
    elif header.base != (base.digest if base else NO_BASE):
        yield Spot(0, HEADER_SIZE, "it has another base than the catalog says")
    if (header.size, header.depth) != (root.size, root.depth):
        said = f"{root.size} bytes at depth {root.depth}"
        yield Spot(0, HEADER_SIZE, f"it has {header.size} bytes at depth {header.depth} where the catalog says {said}")
    if header.store != store:
        yield Spot(0, HEADER_SIZE, "it was written in another store")


def _check_chain(chain: Sequence[ManifestRoot], data: Path) -> Iterator[Spot]:
    """The links, and the geometry where it can break: at the ends of the image and of its base."""
    try:
        opened = open_chain([(path_of(data, each.name), each.digest) for each in chain], _quiet)
    except (Damaged, Missing, DataRefused) as error:
        yield Spot(0, HEADER_SIZE, f"its chain cannot be read: {error}")
        return
    try:
        header = opened[0].header
        for here, below in itertools.pairwise(opened[:2]):
            last = [max(0, each.header.size - 1) // header.block_size for each in (here, below)]
            for number in {min(number, header.blocks - 1) // LEAF_BLOCKS for number in last if header.blocks}:
                resolve.resolve(opened, number)
    except Damaged as error:
        yield Spot(0, HEADER_SIZE, str(error))
    finally:
        for each in opened:
            each.close()


def users_of(roots: Roots, data: Path, suspects: NDArray[np.uint64]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Which live manifests list blocks of `suspects` (marks, ascending): name and digests, shape (n, 32), by leaf."""
    for root in roots.live.values():
        # What cannot be read was told of when it was checked.
        with contextlib.suppress(Damaged, Missing, DataRefused), contextlib.closing(_open(data, root)) as manifest:
            for at in range(manifest.header.leaves):
                with contextlib.suppress(Damaged):
                    names = manifest.leaf_at(at)["digest"]
                    hits = names[np.isin(prefixes(names), suspects)]
                    if len(hits):
                        yield root.name, hits


def _open(data: Path, root: ManifestRoot) -> ManifestFile:
    return ManifestFile(path_of(data, root.name), root.digest, _quiet)


def _quiet(_path: Path, _why: str) -> None:
    """What is wrong with a copy is told by the check of that copy."""
