"""A disk image in a file that gets edits, beside the same bytes as a plain bytearray."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

BLOCK = 64 * 1024
PIECE = 2048


@dataclass
class ChangingDisk:
    """`held` is what `path` should hold; `write` and `resize` do the same to both."""

    path: Path
    size: int
    random: random.Random
    held: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.held = bytearray(self.size)
        self.path.touch()
        os.truncate(self.path, self.size)
        # Data in the middle, compressible by half, with holes around it.
        self.write(self.size // 8, self.data(self.size // 2))

    def data(self, length: int) -> bytes:
        """Random bytes of which zstd saves a part: of every two pieces one."""
        data = bytearray(self.random.randbytes(length))
        for at in range(PIECE, length, 2 * PIECE):
            data[at : at + PIECE] = b"x" * len(data[at : at + PIECE])
        return bytes(data)

    def write(self, offset: int, data: bytes) -> None:
        self.held[offset : offset + len(data)] = data
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def resize(self, size: int) -> None:
        del self.held[size:]
        self.held.extend(bytes(size - len(self.held)))
        os.truncate(self.path, size)

    def edit(self) -> None:
        """One of what happens to disks: a few writes, zeros over data, growth, shrinkage."""
        for _ in range(self.random.randrange(1, 6)):
            size = len(self.held)
            kind = self.random.randrange(8)
            if kind == 0:
                self.resize(self.random.randrange(0, size + 1))
            elif kind == 1:
                self.resize(size + self.random.randrange(1, 1 << 20))
            elif size:
                offset = self.random.randrange(size)
                length = min(self.random.randrange(1, 200_000), size - offset)
                self.write(offset, bytes(length) if kind == 2 else self.data(length))
