"""Journals: which blocks a pin holds before an image does. FORMAT.md draws the bytes.

One file a pin, synced once a generation; a stream's is appended to by one process, a session's by several, one after
another (`session_journal.py`). A torn tail is ignored: nothing that was acknowledged is in it, as the number of
acknowledged records proves. Blocks that were held already are journaled too, for it is the journal that keeps them from
being collected.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from blockstore.checksum import xxh3
from blockstore.digest import HOLE
from blockstore.disk import disk_errors
from blockstore.errors import Damaged, JournalDamaged, Missing
from blockstore.features import NONE, Features
from blockstore.sent_blocks import NumberRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from blockstore.disk import Disk

MAGIC: Final = b"DRYSJRNL"
_HEADER: Final = struct.Struct("<8sIII16s16s")
_RECORD: Final = struct.Struct("<QQ32s")
_SUM: Final = struct.Struct("<Q")
HEADER_SIZE: Final = _HEADER.size + _SUM.size
RECORD_SIZE: Final = _RECORD.size + _SUM.size
SUFFIX: Final = ".journal"
PIECE: Final = 1 << 14
"""Records that are read at a time."""
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


def check_header(data: bytes, what: str) -> None:
    """Raise Damaged if these are not the first HEADER_SIZE bytes of a journal, DataRefused if it is newer."""
    whole = len(data) == HEADER_SIZE and data[:8] == MAGIC
    if not whole or xxh3(data[: _HEADER.size]) != _SUM.unpack_from(data, _HEADER.size)[0]:
        raise Damaged(f"{what}: the journal's header is damaged")
    _, compat, ro_compat, incompat, _, _ = _HEADER.unpack_from(data)
    Features(compat, ro_compat, incompat).check(what)


def decode_records(data: bytes, begins: int, first: int) -> Iterator[Record]:
    """The records from offset `begins` on, up to the first torn one; the first of them has the number `first`."""
    for seq, at in enumerate(range(begins, len(data) - RECORD_SIZE + 1, RECORD_SIZE), first):
        body = data[at : at + _RECORD.size]
        theirs, number, digest = _RECORD.unpack(body)
        if theirs != seq or xxh3(body) != _SUM.unpack_from(data, at + _RECORD.size)[0]:
            return
        yield Record(number, digest)


def read(path: Path, acknowledged: int) -> Iterator[list[Record]]:
    """A journal's file, some records at a time; beside whoever appends, too.

    Missing if it is gone, Damaged if its header is, JournalDamaged after the last record if fewer are there than were
    acknowledged.
    """
    with disk_errors(str(path)):
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise Missing(f"{path} is gone") from None
    valid = 0
    with file:
        head = read_at(file.fileno(), HEADER_SIZE, 0, path)
        # A power cut may leave a first write as zeros, or torn.
        if len(head) == HEADER_SIZE and any(head):
            check_header(head, str(path))
            while found := list(decode_records(_piece(file.fileno(), valid, path), 0, valid)):
                valid += len(found)
                yield found
    if valid < acknowledged:
        raise lost(path, valid, acknowledged)


def _piece(fd: int, first: int, path: Path) -> bytes:
    return read_at(fd, PIECE * RECORD_SIZE, HEADER_SIZE + first * RECORD_SIZE, path)


def read_at(fd: int, length: int, at: int, path: Path) -> bytes:
    """So many bytes, fewer only at the file's end: a disk that fails half-way makes a read short, and no torn tail."""
    with disk_errors(str(path)):
        data = os.pread(fd, length, at)
        while len(data) < length and (more := os.pread(fd, length - len(data), at + len(data))):
            data += more
    return data


def lost(path: Path, valid: int, acknowledged: int) -> JournalDamaged:
    """The error for a journal in which so many records are, and more were acknowledged."""
    return JournalDamaged(f"{path} has {valid} of the {acknowledged} records that it must have")


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
