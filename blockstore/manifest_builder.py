"""Writing a manifest's file as its blocks become known: leaves as they fill, then directory and header."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blockstore import manifest_format
from blockstore.digest import HOLE, digest
from blockstore.errors import BlockstoreError, StoreUnavailable
from blockstore.manifest import SUFFIX
from blockstore.manifest_format import DIRECTORY_ROW, HEADER_SIZE, LEAF_BLOCKS, LEAF_ROW, MOST_BLOCKS, NO_BASE, Header
from blockstore.names import fan_out, new_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.manifest import ManifestFile


@dataclass(frozen=True, slots=True)
class BuiltManifest:
    """A durable manifest: its file's name (32 hex digits), digest and depth, and the name of the base it really has.

    That may be none although one was wanted (another block size, too deep a chain): who records it goes by this.
    """

    name: str
    digest: bytes
    depth: int
    base: str | None


def path_of(directory: Path, name: str) -> Path:
    """Where the manifest with this name lies."""
    return directory / fan_out(name) / f"{name}{SUFFIX}"


class ManifestBuilder:
    """One manifest being written, over `base` or whole. Blocks are added in ascending order; one caller at a time."""

    def __init__(self, directory: Path, store: bytes, block_size: int, base: ManifestFile | None, disk: Disk) -> None:
        self.name = new_name().hex()
        self._path = path_of(directory, self.name)
        self._store = store
        self._block_size = block_size
        self._base = base
        self._disk = disk
        disk.make_directory(self._path.parent)
        self._fd: int | None = disk.create(self._path)
        self._end = HEADER_SIZE
        self._directory: list[tuple[int, int, int, int, bytes]] = []
        self._key = 0
        self._leaf: list[tuple[int, bytes]] = []
        self._entries = 0
        self._holes = 0

    def add(self, first: int, digests: Sequence[bytes], inherited: frozenset[int]) -> list[tuple[int, bytes]]:
        """Add blocks from number `first` on; gives (number, digest) of the data blocks that the manifest lists.

        Positions in `inherited` are the base's. A hole is listed only where the base has something to hide.
        """
        if first + len(digests) > MOST_BLOCKS:
            raise StoreUnavailable(f"an image may have {MOST_BLOCKS} blocks: choose a larger block size for this one")
        listed = []
        for at, name in enumerate(digests):
            number = first + at
            if at in inherited or (name == HOLE and not self._covers(number)):
                continue
            if number // LEAF_BLOCKS != self._key:
                self._end_leaf()
                self._key = number // LEAF_BLOCKS
            self._leaf.append((number, name))
            if name == HOLE:
                self._holes += 1
            else:
                listed.append((number, name))
        return listed

    def finish(self, size: int) -> BuiltManifest:
        """Write directory and header for an image of `size` bytes and make the file durable."""
        assert self._fd is not None
        self._end_leaf()
        rows = np.zeros(len(self._directory), dtype=DIRECTORY_ROW)
        for at, (key, offset, count, reserved, name) in enumerate(self._directory):
            rows[at] = (key, offset, count, reserved, np.frombuffer(name, dtype=np.uint8))
        directory = rows.tobytes()
        depth = self._base.header.depth + 1 if self._base else 0
        header = manifest_format.encode_header(
            Header(
                store=self._store,
                block_size=self._block_size,
                size=size,
                base=self._base.digest if self._base else NO_BASE,
                depth=depth,
                entries=self._entries,
                holes=self._holes,
                leaves=len(rows),
                directory=self._end,
            ),
        )
        what = str(self._path)
        self._disk.write(self._fd, [directory], self._end, what)
        # The header comes last: a file without one was never finished.
        self._disk.write(self._fd, [header], 0, what)
        self._disk.sync(self._fd, what)
        self._disk.sync_directory(self._path.parent)
        self._close()
        base = self._base.path.stem if self._base else None
        return BuiltManifest(self.name, manifest_format.manifest_digest(header, directory), depth, base)

    def abandon(self) -> None:
        """Remove the file, finished or not: nobody has named it yet."""
        self._close()
        with contextlib.suppress(BlockstoreError):
            self._disk.unlink(self._path)

    def _covers(self, number: int) -> bool:
        """Whether the base has bytes at this block."""
        return self._base is not None and number * self._block_size < self._base.header.size

    def _end_leaf(self) -> None:
        if not self._leaf:
            return
        assert self._fd is not None
        rows = np.zeros(len(self._leaf), dtype=LEAF_ROW)
        rows["number"] = [number for number, _ in self._leaf]
        joined = b"".join(name for _, name in self._leaf)
        rows["digest"] = np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), 32)
        data = rows.tobytes()
        end = self._disk.write(self._fd, [data], self._end, str(self._path))
        self._directory.append((self._key, self._end, len(rows), 0, digest(data)))
        self._end = end
        self._entries += len(rows)
        self._leaf = []

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
