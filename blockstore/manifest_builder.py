"""Writing a manifest's two files as its blocks become known: leaves as they fill, then directory and header."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import manifest_format, manifest_leaf
from blockstore.digest import HOLE, digest
from blockstore.errors import BlockstoreError, StoreUnavailable
from blockstore.features import CONTENT_DEFINED, NONE, Features
from blockstore.manifest import SUFFIX, second_of
from blockstore.manifest_format import (
    DIRECTORY_ROW,
    HEADER_SIZE,
    KIND_CONTENT_DEFINED,
    KIND_FIXED,
    LEAF_BLOCKS,
    MOST_BLOCKS,
    NO_BASE,
    Header,
)
from blockstore.names import fan_out, new_name
from blockstore.places import WORTH_IT, UploadPlaces, beside
from blockstore.unnamed import Hold, create
from chunker.content_defined import ALGORITHM, ContentDefinedCutter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from blockstore.block import Place
    from blockstore.disk import Disk
    from blockstore.manifest import ManifestFile
    from chunker.cutting import Cutting


NOWHERE: Final[Mapping[bytes, Place]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BuiltManifest:
    """A durable manifest: its file's name (32 hex digits), digest and depth, and the name of the base it really has.

    The base may be none although one was wanted (another block size, too deep a chain): who records it goes by this.
    `listed` are the bytes of the data blocks that it lists itself. No collection removes the file before `hold` goes.
    """

    name: str
    digest: bytes
    depth: int
    base: str | None
    listed: int
    hold: Hold = field(compare=False, repr=False)


def path_of(directory: Path, name: str) -> Path:
    """Where the manifest with this name lies."""
    return directory / fan_out(name) / f"{name}{SUFFIX}"


def remove(path: Path, disk: Disk) -> None:
    """Remove a manifest that nobody names, and what lies beside it; what can't be removed now is garbage.

    The first copy goes last: while it has its name nobody looks for another.
    """
    for file in (beside(path), second_of(path), path):
        with contextlib.suppress(BlockstoreError):
            disk.unlink(file)


class ManifestBuilder:
    """One manifest being written, over `base` or whole. Blocks are added in ascending order; one caller at a time.

    A content-defined one is always whole: it has no base, and all of its blocks are added, holes included.
    """

    def __init__(self, directory: Path, store: bytes, cutting: Cutting, base: ManifestFile | None, disk: Disk) -> None:
        self.name = new_name().hex()
        self._path = path_of(directory, self.name)
        self._store = store
        self._cutting = cutting
        self._base = base
        self._disk = disk
        disk.make_directory(self._path.parent)
        self._places = UploadPlaces(self._path, disk, fewest=1 if base else WORTH_IT)
        self._files: list[tuple[int, str]] = []
        try:
            # The first copy is locked before there is a second: who may remove the one looks at the other.
            self._files.append((create(disk, self._path), str(self._path)))
            second = second_of(self._path)
            self._files.append((disk.create(second), str(second)))
        except BaseException:
            self.abandon()
            raise
        self._end = HEADER_SIZE
        self._directory: list[tuple[int, int, int, int, bytes]] = []
        self._key = 0
        self._leaf: list[tuple[int, int, bytes]] = []
        self._known: dict[bytes, Place] = {}
        self._size = 0
        self._entries = 0
        self._holes = 0
        self._listed = 0
        self._last = -1

    def add(
        self,
        first: int,
        digests: Sequence[bytes],
        inherited: frozenset[int],
        ends: Sequence[int] = (),
        places: Mapping[bytes, Place] = NOWHERE,
    ) -> list[tuple[int, bytes]]:
        """Add blocks from number `first` on; gives (number, digest) of the data blocks that the manifest lists.

        Positions in `inherited` are the base's. A hole is listed only where the base has something to hide. For
        content-defined blocks `ends` says how long they are: offsets in bytes from the beginning of the first of them.
        `places` are hints for readers, as far as they are known.
        """
        if first + len(digests) > MOST_BLOCKS:
            raise StoreUnavailable(f"an image may have {MOST_BLOCKS} blocks: choose a larger block size for this one")
        self._known.update(places)
        if not self._cutting.is_fixed:
            return self._add_all(first, digests, ends, places)
        listed = []
        for at, name in enumerate(digests):
            number = first + at
            if at in inherited or (name == HOLE and not self._covers(number)):
                continue
            if number // LEAF_BLOCKS != self._key:
                self._end_leaf()
                self._known.update(places)
                self._key = number // LEAF_BLOCKS
            self._leaf.append((number, 0, name))
            if name == HOLE:
                self._holes += 1
            else:
                listed.append((number, name))
        if listed:
            self._listed += len(listed) * self._cutting.size
            self._last = listed[-1][0]
        return listed

    def finish(self, size: int) -> BuiltManifest:
        """Write directory and header for an image of `size` bytes and make the file durable."""
        self._end_leaf()
        rows = np.zeros(len(self._directory), dtype=DIRECTORY_ROW)
        for at, (key, offset, count, reserved, name) in enumerate(self._directory):
            rows[at] = (key, offset, count, reserved, np.frombuffer(name, dtype=np.uint8))
        directory = rows.tobytes()
        depth = self._base.header.depth + 1 if self._base else 0
        header = manifest_format.encode_header(self._header(size, depth))
        self._write(directory, self._end)
        # The header comes last: a file without one was never finished.
        self._write(header, 0)
        self._places.finish()
        self._disk.sync_together(self._files, self._path.parent)
        hold = Hold(self._files.pop(0)[0])
        self._close()
        base = self._base.path.stem if self._base else None
        name = manifest_format.manifest_digest(header, directory)
        return BuiltManifest(self.name, name, depth, base, self._listed - self._cut_short(size), hold)

    def abandon(self, flat: BuiltManifest | None = None) -> None:
        """Remove the file, finished or not, and the one that it was flattened to: nobody has named them yet."""
        self._close()
        remove(self._path, self._disk)
        if flat is not None:
            remove(path_of(self._path.parent.parent, flat.name), self._disk)

    def _add_all(
        self, first: int, digests: Sequence[bytes], ends: Sequence[int], places: Mapping[bytes, Place]
    ) -> list[tuple[int, bytes]]:
        begun, listed = self._size, []
        for number, (name, end) in enumerate(zip(digests, ends, strict=True), first):
            if len(self._leaf) == LEAF_BLOCKS:
                self._end_leaf()
                self._known.update(places)
            if not self._leaf:
                self._key = self._size
            self._leaf.append((self._size, begun + end - self._size, name))
            self._size = begun + end
            if name == HOLE:
                self._holes += 1
            else:
                self._listed += self._leaf[-1][1]
                listed.append((number, name))
        return listed

    def _cut_short(self, size: int) -> int:
        """By how many bytes the last listed block is shorter than those before it: it may be the image's odd tail."""
        if not self._cutting.is_fixed or self._last < 0:
            return 0
        return max(0, (self._last + 1) * self._cutting.size - size)

    def _header(self, size: int, depth: int) -> Header:
        cutter = self._cutting.cutter()
        by_content = cutter if isinstance(cutter, ContentDefinedCutter) else None
        return Header(
            store=self._store,
            block_size=self._cutting.size,
            size=size,
            base=self._base.digest if self._base else NO_BASE,
            depth=depth,
            entries=self._entries,
            holes=self._holes,
            leaves=len(self._directory),
            directory=self._end,
            kind=KIND_CONTENT_DEFINED if by_content else KIND_FIXED,
            algorithm=ALGORITHM if by_content else 0,
            shortest=by_content.shortest if by_content else 0,
            longest=by_content.longest if by_content else 0,
            features=Features(incompat=CONTENT_DEFINED) if by_content else NONE,
        )

    def _covers(self, number: int) -> bool:
        """Whether the base has bytes at this block."""
        return self._base is not None and number * self._cutting.size < self._base.header.size

    def _end_leaf(self) -> None:
        if not self._leaf:
            return
        starts, lengths, names = zip(*self._leaf, strict=True)
        if self._cutting.is_fixed:
            data = manifest_leaf.encode_leaf(starts, names)
        else:
            data = manifest_leaf.encode_content_leaf(starts, lengths, names)
        self._write(data, self._end)
        self._directory.append((self._key, self._end, len(self._leaf), 0, digest(data)))
        self._end += len(data)
        self._entries += len(self._leaf)
        self._places.add([self._known.get(name) for name in names])
        self._known.clear()
        self._leaf = []

    def _close(self) -> None:
        self._places.close()
        while self._files:
            os.close(self._files.pop()[0])

    def _write(self, data: bytes, at: int) -> None:
        assert self._files, "the manifest is closed"
        for fd, what in self._files:
            self._disk.write(fd, [data], at, what)
