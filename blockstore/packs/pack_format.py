"""The bytes of a pack, as pure functions; opens no file. FORMAT.md draws them.

A pack is a valid .zst file: our own parts are skippable frames (RFC 8878, 3.1.2), so `zstd -d` on a pack, or on any run
of its entries, gives the blocks' bytes in order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import digest, frames
from blockstore.block import HEADER_SIZE, Frame
from blockstore.checksum import xxh3
from blockstore.errors import Damaged
from blockstore.features import NONE, Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Buffer

SKIPPABLE: Final = 0x184D2A5D
PACK_MAGIC: Final = b"DRYSPACK"
TABLE_MAGIC: Final = b"DRYSTABL"
ENTRY_MARK: Final = b"DrEn"
ENTRY_VERSION: Final = 1
LONGEST_BLOCK: Final = 4 * 1024 * 1024
LONGEST_FRAME: Final = LONGEST_BLOCK + LONGEST_BLOCK // 128 + 1024
"""More than zstd ever makes of the longest block; a header that claims more is none."""

_START: Final = struct.Struct("<II8sIII16s16s")
START_SIZE: Final = _START.size + 8
_ENTRY: Final = struct.Struct("<II4sBBBBIII32sQ")
assert _ENTRY.size + 8 == HEADER_SIZE
_SUM: Final = struct.Struct("<Q")
# The same header as a row, for many at a time; `begins` is what all of this version have in common.
_ENTRY_CONSTANT: Final = struct.pack(
    "<II4sBBBBI", SKIPPABLE, HEADER_SIZE - 8, ENTRY_MARK, ENTRY_VERSION, frames.CODEC_ZSTD, digest.PLAIN, 0, 0
)
_ENTRY_ROW: Final = np.dtype(
    [
        ("begins", "u1", (len(_ENTRY_CONSTANT),)),
        ("raw", "<u4"),
        ("frame", "<u4"),
        ("digest", "u1", (32,)),
        ("frame_sum", "<u8"),
        ("sum", "<u8"),
    ]
)
_BEGINS: Final = np.frombuffer(_ENTRY_CONSTANT, dtype=np.uint8)
_OF_A_HEADER: Final = np.arange(HEADER_SIZE)
_TRAILER: Final = struct.Struct("<QII8s")
TRAILER_SIZE: Final = _SUM.size + _TRAILER.size
_FRAME: Final = struct.Struct("<II")

ENTRY_BEGINS: Final = struct.pack("<II4s", SKIPPABLE, HEADER_SIZE - 8, ENTRY_MARK)
"""The twelve bytes every entry begins with: what resync looks for."""

TABLE_ROW: Final = np.dtype([("offset", "<u4"), ("raw", "<u4"), ("frame", "<u4"), ("digest", "u1", (32,))])


@dataclass(frozen=True, slots=True)
class Start:
    """What a pack's first frame says."""

    store: bytes
    name: bytes
    features: Features = NONE


@dataclass(frozen=True, slots=True)
class Header:
    """What an entry's header says; lengths in bytes."""

    digest: bytes
    raw_length: int
    frame_length: int
    frame_sum: int


@dataclass(frozen=True, slots=True)
class TableRow:
    """An entry as the sealed pack's table lists it."""

    offset: int
    raw_length: int
    frame_length: int
    digest: bytes


def encode_start(start: Start) -> bytes:
    """The first frame, START_SIZE bytes."""
    bits = start.features
    body = _START.pack(
        SKIPPABLE,
        START_SIZE - 8,
        PACK_MAGIC,
        bits.compat,
        bits.ro_compat,
        bits.incompat,
        start.store,
        start.name,
    )
    return body + _SUM.pack(xxh3(body))


def decode_start(data: bytes, what: str) -> Start:
    """Read the first frame; Damaged if its bytes are not right, DataRefused if it is newer than this program."""
    if len(data) < START_SIZE or xxh3(data[: _START.size]) != _SUM.unpack_from(data, _START.size)[0]:
        raise Damaged(f"{what}: the pack's first frame is damaged")
    magic, size, name_magic, compat, ro_compat, incompat, store, name = _START.unpack_from(data)
    if (magic, size, name_magic) != (SKIPPABLE, START_SIZE - 8, PACK_MAGIC):
        raise Damaged(f"{what}: this is no pack")
    bits = Features(compat, ro_compat, incompat)
    bits.check(what)
    return Start(store, name, bits)


def make_entry(block_digest: bytes, raw_length: int, frame: bytes | memoryview) -> Frame:
    """The entry of a compressed block: header and frame, ready to be appended."""
    body = _ENTRY.pack(
        SKIPPABLE,
        HEADER_SIZE - 8,
        ENTRY_MARK,
        ENTRY_VERSION,
        frames.CODEC_ZSTD,
        digest.PLAIN,
        0,
        0,
        raw_length,
        len(frame),
        block_digest,
        xxh3(frame),
    )
    return Frame(block_digest, raw_length, body + _SUM.pack(xxh3(body)), frame)


def decode_header(data: Buffer) -> Header | None:
    """Read an entry's header; None when these are not the bytes of a right one that this program can read."""
    view = memoryview(data)
    if len(view) < HEADER_SIZE or xxh3(view[: _ENTRY.size]) != _SUM.unpack_from(view, _ENTRY.size)[0]:
        return None
    magic, size, mark, version, codec, scheme, _, key, raw, length, name, total = _ENTRY.unpack_from(view)
    ours = (SKIPPABLE, HEADER_SIZE - 8, ENTRY_MARK, ENTRY_VERSION, frames.CODEC_ZSTD, digest.PLAIN, 0)
    if (magic, size, mark, version, codec, scheme, key) != ours or raw > LONGEST_BLOCK or length > LONGEST_FRAME:
        return None
    return Header(name, raw, length, total)


def are_entries(
    run: memoryview, offsets: NDArray[np.int64], places: NDArray[np.uint32], digests: NDArray[np.uint8]
) -> bool:
    """Whether `run` has, at these offsets, the right entries of these blocks: headers, their sums and the frames'.

    `places` has a row a block: pack, offset, frame length, raw length. Many at a time, in numpy, since a read of an
    image as it is stored does little else.
    """
    heads = np.frombuffer(run, dtype=np.uint8)[offsets[:, None] + _OF_A_HEADER]
    rows = heads.view(_ENTRY_ROW)[:, 0]
    begins = rows["begins"] == _BEGINS
    same = (rows["frame"] == places[:, 2]) & (rows["raw"] == places[:, 3])
    if not (begins.all() and same.all() and (rows["digest"] == digests).all()):
        return False
    starts, ends = offsets.tolist(), (offsets + HEADER_SIZE + places[:, 2]).tolist()
    frame_sums = [xxh3(run[start + HEADER_SIZE : end]) for start, end in zip(starts, ends, strict=True)]
    sums = [xxh3(run[start : start + _ENTRY.size]) for start in starts]
    return bool(frame_sums == rows["frame_sum"].tolist() and sums == rows["sum"].tolist())


def raw_length_of(entry: Buffer) -> int:
    """The raw length that the header of a right entry states, in bytes."""
    return int(_ENTRY.unpack_from(entry)[8])


def encode_table(rows: Sequence[TableRow], at: int) -> bytes:
    """The sealed pack's last frame, which begins at offset `at`: the table and the fixed trailer."""
    table = np.zeros(len(rows), dtype=TABLE_ROW)
    for number, row in enumerate(rows):
        table[number] = (row.offset, row.raw_length, row.frame_length, np.frombuffer(row.digest, dtype=np.uint8))
    body = table.tobytes()
    head = _FRAME.pack(SKIPPABLE, len(body) + TRAILER_SIZE)
    trailer = _TRAILER.pack(at, len(rows), 0, TABLE_MAGIC)
    return head + body + _SUM.pack(xxh3(head + body + trailer)) + trailer


def table_begins(trailer: bytes, size: int) -> int | None:
    """Where the table's frame begins, from the last TRAILER_SIZE of `size` bytes; None if the pack isn't sealed."""
    if len(trailer) != TRAILER_SIZE:
        return None
    at, count, _, magic = _TRAILER.unpack_from(trailer, _SUM.size)
    fits = at >= START_SIZE and at + _FRAME.size + count * TABLE_ROW.itemsize + TRAILER_SIZE == size
    return int(at) if magic == TABLE_MAGIC and fits else None


def rows_between(begins: int, size: int) -> int:
    """How many rows a table has that begins there in a pack of `size` bytes."""
    return (size - begins - _FRAME.size - TRAILER_SIZE) // TABLE_ROW.itemsize


def decode_table(data: bytes, what: str) -> list[TableRow]:
    """Read the last frame of a sealed pack; Damaged when its sum is wrong."""
    if len(data) < _FRAME.size + TRAILER_SIZE or (len(data) - _FRAME.size - TRAILER_SIZE) % TABLE_ROW.itemsize:
        raise Damaged(f"{what}: the pack's table has a length that none has")
    body = data[_FRAME.size : len(data) - TRAILER_SIZE]
    trailer = data[len(data) - _TRAILER.size :]
    total = _SUM.unpack_from(data, len(data) - TRAILER_SIZE)[0]
    if xxh3(data[: _FRAME.size] + body + trailer) != total:
        raise Damaged(f"{what}: the pack's table is damaged")
    table = np.frombuffer(body, dtype=TABLE_ROW)
    return [TableRow(int(r["offset"]), int(r["raw"]), int(r["frame"]), r["digest"].tobytes()) for r in table]
