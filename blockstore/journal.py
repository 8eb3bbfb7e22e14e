"""Journals: which blocks a pin holds before an image does. FORMAT.md draws the bytes.

One file a pin, synced once a generation; a stream's is appended to by one process, a session's by several, one after
another (`session_journal.py`). A torn tail is ignored: nothing that was acknowledged is in it, as the number of
acknowledged records proves. Blocks that were held already are journaled too, for it is the journal that keeps them from
being collected.
"""

from __future__ import annotations

import itertools
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from blockstore.checksum import xxh3
from blockstore.digest import HOLE
from blockstore.disk import disk_errors
from blockstore.errors import Damaged, JournalDamaged, Missing
from blockstore.features import NONE, Features
from blockstore.row_sums import ROW_WORDS, xxh3_rows
from blockstore.sent_blocks import NumberRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.disk import Disk

MAGIC: Final = b"DRYSJRNL"
_HEADER: Final = struct.Struct("<8sIII16s16s")
_RECORD: Final = struct.Struct("<QQ32s")
_SUM: Final = struct.Struct("<Q")
HEADER_SIZE: Final = _HEADER.size + _SUM.size
RECORD_SIZE: Final = _RECORD.size + _SUM.size
SUFFIX: Final = ".journal"
RECORD: Final = np.dtype([("seq", "<u8"), ("number", "<u8"), ("digest", "u1", (32,)), ("sum", "<u8")])
PIECE: Final = 1 << 16
"""Records that are read at a time, 3.5 MiB."""
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


def decode_records(data: bytes, first: int) -> NDArray[np.void]:
    """The records in `data`, as an array of RECORD, up to the first torn one; the first has the number `first`."""
    records: NDArray[np.void] = np.frombuffer(data, dtype=RECORD, count=len(data) // RECORD_SIZE)
    whole = _are_whole(records, np.arange(first, first + len(records)))
    return records if whole.all() else records[: int(np.argmin(whole))]


def _are_whole(records: NDArray[np.void], seqs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these records have their right sums, and these places in their journal."""
    words: NDArray[np.uint64] = records.view("<u8").reshape(-1, ROW_WORDS + 1)
    whole: NDArray[np.bool_] = (words[:, 0] == seqs.astype(np.uint64)) & (
        words[:, ROW_WORDS] == xxh3_rows(words[:, :ROW_WORDS])
    )
    return whole


@dataclass(frozen=True, slots=True)
class NumberArrays:
    """The blocks that records of a session are about: the first ones, how many there are, and which are holes."""

    first: NDArray[np.int64]
    count: NDArray[np.int64]
    holes: NDArray[np.bool_]

    def __getitem__(self, some: slice) -> NumberArrays:
        """Those of some of the records."""
        return NumberArrays(self.first[some], self.count[some], self.holes[some])

    def at(self, record: int) -> NumberRange:
        """Those of one record."""
        return NumberRange(int(self.first[record]), int(self.count[record]))

    def beyond(self, blocks: int) -> NumberRange | None:
        """What the first record is about that names a block which an image of so many doesn't have."""
        wrong = (self.first >= blocks) | (self.count > blocks - self.first)
        return self.at(int(np.argmax(wrong))) if wrong.any() else None


def numbers_in(records: NDArray[np.void]) -> NumberArrays:
    """The blocks that records of a session are about."""
    holes: NDArray[np.bool_] = ~np.any(records["digest"].view("<u8"), axis=1)
    first = np.where(holes, records["number"] & ((1 << _RUN_BITS) - 1), np.minimum(records["number"], 1 << 62))
    count = np.where(holes, (records["number"] >> np.uint64(_RUN_BITS)) + np.uint64(1), 1)
    return NumberArrays(first.astype(np.int64), count.astype(np.int64), holes)


def read(path: Path, acknowledged: int, first: int = 0) -> Iterator[NDArray[np.void]]:
    """A journal's records from `first` on, some at a time, as arrays of RECORD; beside whoever appends, too.

    Missing if it is gone, Damaged if its header is, JournalDamaged after the last record if fewer are there than were
    acknowledged.
    """
    with disk_errors(str(path)):
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise Missing(f"{path} is gone") from None
    valid = first
    with file:
        head = read_at(file.fileno(), HEADER_SIZE, 0, path)
        # A power cut may leave a first write as zeros, or torn.
        if len(head) == HEADER_SIZE and any(head):
            check_header(head, str(path))
            while len(found := decode_records(_piece(file.fileno(), valid, path), valid)):
                valid += len(found)
                yield found
    if valid < acknowledged:
        raise lost(path, valid, acknowledged)


def _piece(fd: int, first: int, path: Path) -> bytes:
    return read_at(fd, PIECE * RECORD_SIZE, HEADER_SIZE + first * RECORD_SIZE, path)


def fetch(fd: int, seqs: NDArray[np.int64], path: Path) -> NDArray[np.void]:
    """The records of a journal that have these numbers; JournalDamaged if one is gone. Neighbours come together."""
    order = np.argsort(seqs, kind="stable")
    wanted = seqs[order]
    data = bytearray(len(wanted) * RECORD_SIZE)
    edges = [*(np.flatnonzero(np.diff(wanted, prepend=-2) != 1)).tolist(), len(wanted)]
    with disk_errors(str(path)):
        for begins, stop in itertools.pairwise(edges):
            room = memoryview(data)[begins * RECORD_SIZE : stop * RECORD_SIZE]
            os.preadv(fd, [room], HEADER_SIZE + int(wanted[begins]) * RECORD_SIZE)
    found = np.frombuffer(data, dtype=RECORD)
    whole = _are_whole(found, wanted)
    if not whole.all():
        raise JournalDamaged(f"{path} has lost record {wanted[~whole][0]}")
    records = np.empty_like(found)
    records[order] = found
    return records


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
