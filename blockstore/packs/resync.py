"""Walking a pack's entries without trusting anything: for adoption, verification and making the index again.

After a bad entry the walk goes on at the next twelve bytes that every entry begins with whose header's sum is right.
An image may itself contain such bytes; what they claim is checked like everything else (BLAKE3 when read), so at worst
a run of good blocks is found twice.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore.block import HEADER_SIZE
from blockstore.checksum import xxh3
from blockstore.packs import pack_format
from blockstore.packs.pack_format import ENTRY_BEGINS, START_SIZE, Header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int, int], bytes]
    """Of an open file so many bytes from an offset on."""

WINDOW: Final = 1024 * 1024
SECTOR: Final = 4096
"""Bytes that the system reads or does not read together."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry whose header and frame have the sums they should have; offsets in bytes."""

    offset: int
    end: int
    header: Header


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bytes between entries that are no right entry."""

    offset: int
    end: int


def read_past(fd: int, count: int, at: int) -> bytes:
    """As `os.pread`, with zeros for what the disk cannot read: a place that is no entry, and no table either."""
    try:
        return os.pread(fd, count, at)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    if at // SECTOR == (at + count - 1) // SECTOR:
        return bytes(count)
    # Cut where sectors begin, so that nothing beside a bad one is lost with it.
    middle = (at + count // 2) // SECTOR * SECTOR
    middle = middle if middle > at else at // SECTOR * SECTOR + SECTOR
    return read_past(fd, middle - at, at) + read_past(fd, at + count - middle, middle)


def walk(fd: int, *, start: int = START_SIZE, stop: int | None = None, past: bool = False) -> Iterator[Found | Skipped]:
    """Every valid entry from `start` on, and what lies between them, in order; reads by `pread`, bounded memory.

    With `past`, what the disk cannot read is passed over like anything else that is no entry.
    """
    read = read_past if past else os.pread
    stop = os.fstat(fd).st_size if stop is None else stop
    at = skipped = start
    while at < stop:
        found = _entry(read, fd, at, stop)
        if found is None:
            at = _next(read, fd, at + 1, stop)
            continue
        if skipped < at:
            yield Skipped(skipped, at)
        yield found
        at = skipped = found.end
    if skipped < stop:
        yield Skipped(skipped, stop)


def _entry(read: Read, fd: int, at: int, stop: int) -> Found | None:
    header = pack_format.decode_header(read(fd, HEADER_SIZE, at))
    if header is None:
        return None
    end = at + HEADER_SIZE + header.frame_length
    if end > stop:
        return None
    frame = read(fd, header.frame_length, at + HEADER_SIZE)
    return Found(at, end, header) if xxh3(frame) == header.frame_sum else None


def _next(read: Read, fd: int, at: int, stop: int) -> int:
    """The next offset at which an entry may begin; `stop` if there is none."""
    while at < stop:
        window = read(fd, min(WINDOW, stop - at), at)
        hit = window.find(ENTRY_BEGINS)
        if hit >= 0:
            return at + hit
        if len(window) < len(ENTRY_BEGINS):
            return stop
        at += len(window) - len(ENTRY_BEGINS) + 1
    return stop
