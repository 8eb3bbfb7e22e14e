"""Blocks on their way between two ends: by number, as entries, as runs of holes, or by where another image has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from blockstore.block import HEADER_SIZE

MOST_BLOCKS_SENT: Final = 16_384
"""Blocks, sent or held, and runs of holes in one request."""
MOST_UNPACKED: Final = 1 << 30
"""Bytes of image in one request's frames: a small frame may be of a long block, and that takes time to check."""
_SPARE: Final = 1024


@dataclass(frozen=True, slots=True, order=True)
class NumberRange:
    """The block numbers from `first` on, `count` of them."""

    first: int
    count: int

    @property
    def stop(self) -> int:
        """The number behind the last one."""
        return self.first + self.count


@dataclass(frozen=True, slots=True)
class EntryBegins:
    """An entry of `length` bytes follows: header and zstd frame of block `number`."""

    number: int
    length: int


@dataclass(frozen=True, slots=True)
class SentHoles:
    """These blocks are zeros."""

    numbers: NumberRange


@dataclass(frozen=True, slots=True)
class SentHeld:
    """These blocks are those of another image, there from number `first` on."""

    numbers: NumberRange
    image: str
    first: int


def longest_frame(raw_length: int) -> int:
    """More bytes than zstd ever makes of a block of so many."""
    return raw_length + raw_length // 128 + _SPARE


def longest_entry(raw_length: int) -> int:
    """The same with the entry's header."""
    return HEADER_SIZE + longest_frame(raw_length)
