"""The flat manifest of a chain, byte for byte as its file would be, made part by part and written nowhere.

Two passes over the image, a leaf in memory at a time: the first finds the directory, since the header stands before the
leaves and speaks of all of them; the second gives the bytes. A chain and what it is coalesced to give the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import manifest_format
from blockstore.digest import digest
from blockstore.errors import Damaged
from blockstore.manifest_format import DIRECTORY_ROW, HEADER_SIZE, LEAF_BLOCKS, NO_BASE
from blockstore.manifest_leaf import LEAF_ROW, row_of
from blockstore.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.manifest import ManifestFile
    from blockstore.manifest_format import Header

LONGEST_PART: Final = LEAF_BLOCKS * 44
"""Bytes of the longest leaf."""


class FlatManifest:
    """The flat manifest of `chain`, newest first. `look` until it says True; then `part` is safe on several threads."""

    def __init__(self, chain: Sequence[ManifestFile]) -> None:
        self._chain = chain
        self._resolver = Resolver(chain)
        top = chain[0].header
        self._windows = -(-top.blocks // LEAF_BLOCKS)
        self._looked = 0
        self._rows = np.zeros(top.leaves if len(chain) == 1 else self._windows, dtype=DIRECTORY_ROW)
        self._leaves = 0
        self._end = HEADER_SIZE
        self._entries = 0
        self._is_flat = len(chain) == 1
        self._keys = [] if top.is_fixed else chain[0].keys()
        self._header = b""
        self._directory = b""
        self.header: Header = top

    def look(self, windows: int) -> bool:
        """Look at so many more windows; whether all is known now."""
        stop = min(self._windows, self._looked + windows)
        for key in range(self._looked, stop):
            data = self._leaf(key)
            if data:
                count = len(data) // row_of(self.header).itemsize
                name = np.frombuffer(digest(data), dtype=np.uint8)
                self._rows[self._leaves] = (self._key(key), self._end, count, 0, name)
                self._leaves += 1
                self._end += len(data)
                self._entries += count
        self._looked = stop
        if stop < self._windows:
            return False
        if not self._header:
            self._settle()
        return True

    @property
    def digest(self) -> bytes:
        """The manifest's digest; after `look`."""
        return manifest_format.manifest_digest(self._header, self._directory)

    @property
    def size(self) -> int:
        """Bytes of the whole file; after `look`."""
        return self._end + len(self._directory)

    @property
    def data_blocks(self) -> int:
        """Blocks that are no holes; after `look`."""
        return self.header.entries - self.header.holes

    @property
    def parts(self) -> int:
        """How many parts there are: the header, the leaves, the directory."""
        return self._leaves + 2

    def part(self, number: int) -> bytes:
        """One part's bytes. Damaged if a leaf is not what it was at the first look."""
        if number == 0:
            return self._header
        if number == self.parts - 1:
            return self._directory
        row = self._rows[number - 1]
        key = int(row["key"])
        data = self._leaf(key if self.header.is_fixed else number - 1)
        if digest(data) != row["digest"].tobytes():
            raise Damaged(f"{self._chain[0].path}: leaf {key} changed while it was read")
        return data

    def _settle(self) -> None:
        rows = self._rows[: self._leaves]
        holes = self.header.holes if self._is_flat else 0
        self.header = replace(
            self.header,
            base=NO_BASE,
            depth=0,
            entries=self._entries,
            holes=holes,
            leaves=len(rows),
            directory=self._end,
        )
        self._directory = rows.tobytes()
        self._header = manifest_format.encode_header(self.header)

    def _key(self, key: int) -> int:
        """A window's key in the directory: its number, or of a content-defined image where it begins."""
        return key if self.header.is_fixed else self._keys[key]

    def _leaf(self, key: int) -> bytes:
        if self._is_flat:
            leaf = self._chain[0].leaf(key) if self.header.is_fixed else self._chain[0].leaf_at(key)
            return b"" if leaf is None else leaf.tobytes()
        names = self._resolver.window(key).digests
        held = np.flatnonzero(names.any(axis=1))
        rows = np.zeros(len(held), dtype=LEAF_ROW)
        rows["number"] = held + key * LEAF_BLOCKS
        rows["digest"] = names[held]
        return rows.tobytes()
