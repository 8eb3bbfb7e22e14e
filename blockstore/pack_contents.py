"""What a pack holds, by its own word: the table of a sealed one, or a walk over one that has none or a wrong one.

Verification, rebuilding the index and compaction all begin here. A table is believed when its sum is right and its rows
lie one after another from the start frame to the table; what a walk finds without one is somebody's bytes until its
BLAKE3 was compared (FORMAT.md, resync).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.checksum import xxh3
from blockstore.digest import digest
from blockstore.disk import CANNOT_READ
from blockstore.errors import Damaged
from blockstore.packs import pack_format, resync
from blockstore.packs.pack_format import START_SIZE, TRAILER_SIZE, TableRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NO_ENTRY: Final = "no entry can be read here"
"""Why bytes between entries are wrong; a block that a row expects there is told of on its own."""
RUN: Final = 1 << 20
"""Bytes that are read at once, more only for a longer entry."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Bytes of a file that are wrong: from `begins` up to `ends`, and why; the block's digest, if it is known."""

    begins: int
    ends: int
    why: str
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """A pack's entries in their order; what is wrong with it beside them; whether its table could be believed."""

    entries: Sequence[TableRow]
    spots: Sequence[Spot]
    tabled: bool

    @property
    def is_whole(self) -> bool:
        """Whether the entries are all that the pack has: a row that names it names one of them."""
        return self.tabled and not self.spots


def end_of(row: TableRow) -> int:
    """Where the entry ends."""
    return row.offset + HEADER_SIZE + row.frame_length


def read_contents(fd: int, what: str, store: bytes, name: bytes, stop: int | None = None) -> Contents:
    """The entries of an open file. `stop` is given for a pack that is not sealed: what lies behind it is nobody's yet.

    Raises DataRefused for a newer format; all other trouble is told in the result, what the disk cannot read as well.
    """
    spots = []
    try:
        start = pack_format.decode_start(resync.read_past(fd, START_SIZE, 0), what)
        if (start.store, start.name) != (store, name):
            spots.append(Spot(0, START_SIZE, "its first frame is that of another pack or store"))
    except Damaged:
        spots.append(Spot(0, START_SIZE, "its first frame is damaged"))
    if stop is None:
        try:
            rows, gaps = read_table(fd, what)
            return Contents(rows, [*spots, *gaps], tabled=not gaps)
        except Damaged:
            pass
    entries, skipped = _walk(fd, stop)
    if stop is None and not (skipped and skipped[-1].ends == os.fstat(fd).st_size):
        skipped.append(
            Spot(end_of(entries[-1]) if entries else START_SIZE, os.fstat(fd).st_size, "its table is missing")
        )
    return Contents(entries, [*spots, *skipped], tabled=False)


def read_table(fd: int, what: str) -> tuple[list[TableRow], list[Spot]]:
    """The table of a sealed pack, and what its rows leave out: adoption lists only what it could read.

    Damaged unless its sum is right and its entries lie one behind the other before it.
    """
    size = os.fstat(fd).st_size
    begins = pack_format.table_begins(resync.read_past(fd, TRAILER_SIZE, max(0, size - TRAILER_SIZE)), size)
    if begins is None:
        raise Damaged(f"{what}: the pack has no table")
    rows = pack_format.decode_table(resync.read_past(fd, size - begins, begins), what)
    at, gaps = START_SIZE, []
    for begin, end in [*((row.offset, end_of(row)) for row in rows), (begins, begins)]:
        if begin < at:
            raise Damaged(f"{what}: the pack's table lists entries that overlap")
        if begin > at:
            gaps.append(Spot(at, begin, NO_ENTRY))
        at = end
    return rows, gaps


def _walk(fd: int, stop: int | None) -> tuple[list[TableRow], list[Spot]]:
    entries, spots = [], []
    for part in resync.walk(fd, stop=stop, past=True):
        if isinstance(part, resync.Found):
            header = part.header
            entries.append(TableRow(part.offset, header.raw_length, header.frame_length, header.digest))
        else:
            spots.append(Spot(part.offset, part.end, NO_ENTRY))
    if stop is None and spots and spots[-1].ends == os.fstat(fd).st_size:
        last = spots.pop()
        spots.append(Spot(last.begins, last.ends, "the table, and what may lie before it, cannot be read"))
    return entries, spots


def runs(entries: Iterable[TableRow], most: int = RUN) -> Iterator[list[TableRow]]:
    """Entries that lie one after another, together, up to `most` bytes."""
    run: list[TableRow] = []
    for entry in entries:
        if run and (entry.offset != end_of(run[-1]) or end_of(entry) - run[0].offset > most):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def read_run(fd: int, run: Sequence[TableRow]) -> Iterator[tuple[TableRow, memoryview]]:
    """Each entry of a run with its bytes, header and frame; shorter ones where the file ends."""
    begins = run[0].offset
    data = memoryview(os.pread(fd, end_of(run[-1]) - begins, begins))
    for entry in run:
        yield entry, data[entry.offset - begins : end_of(entry) - begins]


def checked_run(fd: int, run: Sequence[TableRow]) -> Iterator[tuple[TableRow, memoryview, str | None]]:
    """Each entry of a run with its bytes and what is wrong with it, or None; one that cannot be read has none."""
    try:
        found = list(read_run(fd, run))
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        # One place of the run: which one is found by reading them one by one.
        if len(run) > 1:
            for entry in run:
                yield from checked_run(fd, [entry])
        else:
            yield run[0], memoryview(b""), CANNOT_READ
        return
    for entry, data in found:
        yield entry, data, data_trouble(entry, data)


def header_trouble(entry: TableRow, head: memoryview | bytes) -> str | None:
    """What is wrong with an entry's header, or None: it must say what the table (or the index) says."""
    header = pack_format.decode_header(head[:HEADER_SIZE])
    if header is None:
        return "the entry's header is damaged"
    if (header.digest, header.raw_length, header.frame_length) != (entry.digest, entry.raw_length, entry.frame_length):
        return "the entry's header is that of another block"
    return None


def data_trouble(entry: TableRow, data: memoryview) -> str | None:
    """What is wrong with an entry, or None: header, the frame's sum, the frame, the block's BLAKE3."""
    trouble = header_trouble(entry, data)
    if trouble is not None:
        return trouble
    frame = data[HEADER_SIZE:]
    header = pack_format.decode_header(data)
    if len(frame) != entry.frame_length or header is None or xxh3(frame) != header.frame_sum:
        return "the entry's frame is damaged"
    try:
        block = frames.decompress(frame, entry.raw_length)
    except Damaged as error:
        return str(error)
    return None if digest(block) == entry.digest else "the entry holds other bytes than those of its block"
