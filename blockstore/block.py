"""The values that travel between the parts: where a block lies, and a block made ready to be stored."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

PLACE: Final = struct.Struct("<IIII")
HEADER_SIZE: Final = 76
"""An entry's header in a pack, in bytes; the frame follows."""


class Place(NamedTuple):
    """Where an entry lies: 16 bytes in the index.

    `pack` is the pack's number in the register, `offset` that of the entry's header in the file, in bytes;
    `frame_length` and `raw_length` are the block's, compressed and raw. (A tuple, because look-ups make thousands.)
    """

    pack: int
    offset: int
    frame_length: int
    raw_length: int

    @property
    def end(self) -> int:
        """Where the entry ends in the file: the next one begins there."""
        return self.offset + HEADER_SIZE + self.frame_length

    def encode(self) -> bytes:
        """The row's 16 bytes, little-endian."""
        return PLACE.pack(*self)

    @classmethod
    def decode(cls, row: bytes) -> Place:
        """The place in a row of 16 bytes."""
        return cls(*PLACE.unpack(row))


@dataclass(frozen=True, slots=True)
class Frame:
    """A new block, compressed, with its entry header: what `append` writes."""

    digest: bytes
    raw_length: int
    header: bytes
    data: bytes | memoryview
