"""Counts what an image's next version costs, by plain means: knows nothing of the packages that it checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BLOCK = 65536
_PIECE = 64  # blocks compared at once


def differing_blocks(first: Path, second: Path, block: int = BLOCK) -> list[int]:
    """Numbers of the blocks of `second` whose bytes differ from those of `first` at the same place.

    What lies beyond the end of `first` differs; what `second` no longer has costs nothing and isn't counted.
    """
    differing: list[int] = []
    with first.open("rb") as old, second.open("rb") as new:
        start = 0
        while fresh := new.read(block * _PIECE):
            known = old.read(block * _PIECE)
            if fresh != known:
                ends = range(0, len(fresh), block)
                differing += [start + at // block for at in ends if fresh[at : at + block] != known[at : at + block]]
            start += _PIECE
    return differing


def zstd1_size(path: Path, blocks: Iterable[int], block: int = BLOCK) -> int:
    """Bytes of the named blocks as zstd frames of level 1, one a block; blocks of zeros cost nothing."""
    compressor = zstandard.ZstdCompressor(level=1)
    return sum(len(compressor.compress(data)) for data in _read(path, blocks, block) if any(data))


def zero_blocks(path: Path, block: int = BLOCK) -> int:
    """How many whole blocks of the file are zeros."""
    zeros = bytes(block)
    with path.open("rb") as file:
        return sum(data == zeros for data in iter(lambda: file.read(block), b""))


def _read(path: Path, blocks: Iterable[int], block: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number in blocks:
            file.seek(number * block)
            yield file.read(block)
