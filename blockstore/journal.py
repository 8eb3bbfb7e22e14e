"""Journals: which blocks a pin holds before an image does. FORMAT.md draws the bytes.

One file a pin, synced once a generation; a stream's is appended to by one process, a session's by several, one after
another (`session_journal.py`). A torn tail is ignored: nothing that was acknowledged is in it. Blocks that were held
already are journaled too, for it is the journal that keeps them from being collected.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from blockstore.checksum import xxh3
from blockstore.digest import HOLE
from blockstore.errors import Damaged
from blockstore.features import NONE, Features
from blockstore.sent_blocks import NumberRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap
    from pathlib import Path

    from blockstore.disk import Disk

MAGIC: Final = b"DRYSJRNL"
_HEADER: Final = struct.Struct("<8sIII16s16s")
_RECORD: Final = struct.Struct("<QQ32s")
_SUM: Final = struct.Struct("<Q")
HEADER_SIZE: Final = _HEADER.size + _SUM.size
RECORD_SIZE: Final = _RECORD.size + _SUM.size
SUFFIX: Final = ".journal"
_RUN_BITS: Final = 32


class Record(NamedTuple):
    """Block `number` of the image has this digest; a record with the digest HOLE is a run, see `hole_run`."""

    number: int
    digest: bytes


def hole_run(numbers: NumberRange) -> Record:
    """A record that says that all these blocks, whose numbers have 32 bits, are holes."""
    return Record(numbers.first | (numbers.count - 1) << _RUN_BITS, HOLE)


def numbers_of(record: Record) -> NumberRange:
    """The blocks that a record of a session is about."""
    if record.digest != HOLE:
        return NumberRange(record.number, 1)
    return NumberRange(record.number & ((1 << _RUN_BITS) - 1), (record.number >> _RUN_BITS) + 1)


def encode_header(store: bytes, pin: bytes) -> bytes:
    """The first HEADER_SIZE bytes."""
    body = _HEADER.pack(MAGIC, NONE.compat, NONE.ro_compat, NONE.incompat, store, pin)
    return body + _SUM.pack(xxh3(body))


def encode_records(records: Sequence[Record], first: int) -> bytes:
    """Records with consecutive sequence numbers from `first`."""
    parts: list[bytes] = []
    for seq, record in enumerate(records, first):
        body = _RECORD.pack(seq, record.number, record.digest)
        parts += (body, _SUM.pack(xxh3(body)))
    return b"".join(parts)


def decode(data: bytes | mmap, what: str) -> Iterator[Record]:
    """The records up to the first torn one; a file shorter than its header has none."""
    if not any(data[:HEADER_SIZE]) or len(data) < HEADER_SIZE:
        # A power cut may leave a first write as zeros, or torn: nothing in it was acknowledged.
        return
    check_header(data[:HEADER_SIZE], what)
    yield from decode_records(data, HEADER_SIZE, 0)


def check_header(data: bytes, what: str) -> None:
    """Raise Damaged if these are not the first HEADER_SIZE bytes of a journal, DataRefused if it is newer."""
    if data[:8] != MAGIC or xxh3(data[: _HEADER.size]) != _SUM.unpack_from(data, _HEADER.size)[0]:
        raise Damaged(f"{what}: the journal's header is damaged")
    _, compat, ro_compat, incompat, _, _ = _HEADER.unpack_from(data)
    Features(compat, ro_compat, incompat).check(what)


def decode_records(data: bytes | mmap, begins: int, first: int) -> Iterator[Record]:
    """The records from offset `begins` on, up to the first torn one; the first of them has the number `first`."""
    for seq, at in enumerate(range(begins, len(data) - RECORD_SIZE + 1, RECORD_SIZE), first):
        body = data[at : at + _RECORD.size]
        theirs, number, digest = _RECORD.unpack(body)
        if theirs != seq or xxh3(body) != _SUM.unpack_from(data, at + _RECORD.size)[0]:
            return
        yield Record(number, digest)


class Journal:
    """The journal of one pin; the file is made with the first record."""

    def __init__(self, directory: Path, store: bytes, pin: str, disk: Disk) -> None:
        self._path = path_of(directory, pin)
        self._header = encode_header(store, bytes.fromhex(pin))
        self._disk = disk
        self._fd: int | None = None
        self._end = 0
        self._records = 0

    def append(self, records: Sequence[Record]) -> None:
        """Write records and make them durable."""
        begun = self._fd is not None
        if self._fd is None:
            self._fd = self._disk.create(self._path)
            self._end = self._disk.write(self._fd, [self._header], 0, str(self._path))
        data = encode_records(records, self._records)
        end = self._disk.write(self._fd, [data], self._end, str(self._path))
        self._disk.sync(self._fd, str(self._path))
        if not begun:
            self._disk.sync_directory(self._path.parent)
        self._end = end
        self._records += len(records)

    def close(self) -> None:
        """Close the file, which stays until its pin is gone."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def path_of(directory: Path, pin: str) -> Path:
    """Where the journal of a pin lies."""
    return directory / f"{pin}{SUFFIX}"
