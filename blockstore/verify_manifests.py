"""Checking manifests: every byte of a file, what the records say of it, and its chain."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

import numpy as np

from blockstore import manifest_format, resolve
from blockstore.errors import Damaged, DataRefused, Missing
from blockstore.manifest import ManifestFile, open_chain
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


def check_manifest(root: ManifestRoot, roots: Roots, data: Path, store: bytes, marks: Marks) -> Iterator[Spot]:
    """What is wrong with one live manifest; the blocks that it lists are added to `marks`."""
    path = path_of(data, root.name)
    try:
        manifest = _open(data, root)
    except (Damaged, Missing, DataRefused) as error:
        yield Spot(0, path.stat().st_size if path.exists() else 0, str(error))
        return
    with contextlib.closing(manifest):
        yield from _check_record(manifest, root, roots, store)
        yield from _check_leaves(manifest, marks)
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


def _check_leaves(manifest: ManifestFile, marks: Marks) -> Iterator[Spot]:
    """Leaves follow one another from the header to the directory, so that no byte of the file is nobody's."""
    directory = _directory(manifest)
    at, size = HEADER_SIZE, row_of(manifest.header).itemsize
    for number, row in enumerate(directory):
        begins, ends = int(row["offset"]), int(row["offset"]) + int(row["count"]) * size
        if begins != at:
            yield Spot(min(at, begins), max(at, begins), "its leaves do not follow one another")
        at = ends
        try:
            names = manifest.leaf_at(number)["digest"]
        except Damaged as error:
            yield Spot(begins, ends, str(error))
            continue
        marks.add(names[names.any(axis=1)])
    if at != manifest.header.directory:
        yield Spot(at, manifest.header.directory, "something lies between its leaves and its directory")


def _directory(manifest: ManifestFile) -> NDArray[np.void]:
    header = manifest.header
    fd = os.open(manifest.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(fd, header.leaves * manifest_format.DIRECTORY_ROW.itemsize, header.directory)
    finally:
        os.close(fd)
    return manifest_format.decode_directory(data, header, str(manifest.path))


def _check_chain(chain: Sequence[ManifestRoot], data: Path) -> Iterator[Spot]:
    """The links, and the geometry where it can break: at the ends of the image and of its base."""
    try:
        opened = open_chain([(path_of(data, each.name), each.digest) for each in chain])
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
    return ManifestFile(path_of(data, root.name), root.digest)
