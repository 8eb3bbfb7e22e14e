from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.checksum import xxh3
from blockstore.digest import digest
from blockstore.errors import Damaged, DataRefused
from blockstore.features import Features
from blockstore.packs import pack_format
from blockstore.packs.pack_format import START_SIZE, TRAILER_SIZE, Start, TableRow

names = st.binary(min_size=16, max_size=16)
words = st.integers(0, (1 << 32) - 1)
rows = st.builds(TableRow, words, words, words, st.binary(min_size=32, max_size=32))
BLOCK = random.Random(1).randbytes(100)
FRAME = frames.compress(BLOCK)


def summed(body: bytes) -> bytes:
    return body + struct.pack("<Q", xxh3(body))


@given(store=names, name=names, compat=words, ro_compat=words)
def test_a_start_frame_comes_back(store: bytes, name: bytes, compat: int, ro_compat: int) -> None:
    start = Start(store, name, Features(compat, ro_compat, 0))
    encoded = pack_format.encode_start(start)
    assert len(encoded) == START_SIZE
    assert pack_format.decode_start(encoded + b"entries", "a pack") == start


@given(at=st.integers(0, START_SIZE * 8 - 1))
def test_a_start_frame_with_any_flipped_bit_is_damaged(at: int) -> None:
    bad = bytearray(pack_format.encode_start(Start(bytes(16), bytes(16))))
    bad[at // 8] ^= 1 << at % 8
    with pytest.raises(Damaged, match="a pack: "):
        pack_format.decode_start(bytes(bad), "a pack")


def test_a_start_frame_that_ends_early_is_damaged() -> None:
    whole = pack_format.encode_start(Start(bytes(16), bytes(16)))
    for length in range(START_SIZE):
        with pytest.raises(Damaged):
            pack_format.decode_start(whole[:length], "a pack")


def test_a_file_of_another_kind_with_a_right_sum_is_no_pack() -> None:
    whole = pack_format.encode_start(Start(bytes(16), bytes(16)))
    with pytest.raises(Damaged, match="this is no pack"):
        pack_format.decode_start(summed(whole[:8] + b"DRYSTACK" + whole[16:-8]), "a pack")


def test_a_pack_in_a_newer_format_is_refused_with_what_to_do() -> None:
    encoded = pack_format.encode_start(Start(bytes(16), bytes(16), Features(incompat=4)))
    with pytest.raises(DataRefused, match=r"a pack was written in a newer format \(bits 0x4 .* run a newer Drystone"):
        pack_format.decode_start(encoded, "a pack")


@given(
    raw=st.integers(0, pack_format.LONGEST_BLOCK),
    frame=st.binary(max_size=200),
    name=st.binary(min_size=32, max_size=32),
)
def test_an_entrys_header_comes_back(raw: int, frame: bytes, name: bytes) -> None:
    entry = pack_format.make_entry(name, raw, frame)
    header = pack_format.decode_header(entry.header + entry.data)
    assert header is not None
    assert (header.digest, header.raw_length, header.frame_length) == (name, raw, len(frame))
    assert header.frame_sum == xxh3(frame)
    assert len(entry.header) == HEADER_SIZE
    assert entry.header.startswith(pack_format.ENTRY_BEGINS)


@given(at=st.integers(0, HEADER_SIZE * 8 - 1))
def test_an_entrys_header_with_any_flipped_bit_is_none(at: int) -> None:
    bad = bytearray(pack_format.make_entry(digest(BLOCK), len(BLOCK), FRAME).header)
    bad[at // 8] ^= 1 << at % 8
    assert pack_format.decode_header(bad) is None


@pytest.mark.parametrize(
    ("at", "value"), [(12, b"\x02"), (13, b"\x02"), (14, b"\x01"), (16, b"\x01"), (8, b"x"), (4, b"\x45"), (0, b"\x50")]
)
def test_a_header_that_this_program_cannot_read_is_none_although_its_sum_is_right(at: int, value: bytes) -> None:
    body = pack_format.make_entry(digest(BLOCK), len(BLOCK), FRAME).header[:-8]
    assert pack_format.decode_header(summed(body)) is not None
    assert pack_format.decode_header(summed(body[:at] + value + body[at + 1 :])) is None


def test_a_reserved_byte_of_a_header_is_not_looked_at() -> None:
    body = pack_format.make_entry(digest(BLOCK), len(BLOCK), FRAME).header[:-8]
    assert pack_format.decode_header(summed(body[:15] + b"\x07" + body[16:])) is not None


def test_a_header_that_ends_early_is_none() -> None:
    whole = pack_format.make_entry(digest(BLOCK), len(BLOCK), FRAME).header
    assert all(pack_format.decode_header(whole[:length]) is None for length in range(HEADER_SIZE))


@given(table=st.lists(rows, max_size=20), at=st.integers(START_SIZE, 1 << 40))
def test_a_table_comes_back_and_its_trailer_says_where_it_begins(table: list[TableRow], at: int) -> None:
    encoded = pack_format.encode_table(table, at)
    assert pack_format.table_begins(encoded[-TRAILER_SIZE:], at + len(encoded)) == at
    assert pack_format.decode_table(encoded, "a pack") == table


@given(table=st.lists(rows, max_size=4), where=st.floats(0, 1, exclude_max=True))
def test_a_table_with_any_flipped_bit_is_damaged(table: list[TableRow], where: float) -> None:
    bad = bytearray(pack_format.encode_table(table, 1000))
    bit = int(where * len(bad) * 8)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged, match="a pack: the pack's table is damaged"):
        pack_format.decode_table(bytes(bad), "a pack")


def test_a_table_that_is_too_short_is_damaged_and_nothing_else() -> None:
    whole = pack_format.encode_table([TableRow(68, 100, 90, bytes(32))], 300)
    for length in range(len(whole)):
        with pytest.raises(Damaged):
            pack_format.decode_table(whole[:length], "a pack")


def test_a_table_of_half_a_row_with_a_right_sum_is_damaged() -> None:
    head = struct.pack("<II", pack_format.SKIPPABLE, 22 + TRAILER_SIZE)
    trailer = struct.pack("<QII8s", 0, 1, 0, pack_format.TABLE_MAGIC)
    made = head + bytes(22) + struct.pack("<Q", xxh3(head + bytes(22) + trailer)) + trailer
    with pytest.raises(Damaged):
        pack_format.decode_table(made, "a pack")


def test_a_pack_without_a_table_has_no_trailer() -> None:
    assert pack_format.table_begins(bytes(TRAILER_SIZE), 1000) is None
    assert pack_format.table_begins(pack_format.TABLE_MAGIC, 1000) is None
    assert pack_format.table_begins(b"", 0) is None


@pytest.mark.parametrize(("at", "size"), [(START_SIZE - 1, 151), (100, 151), (100, 183), (100, 185), (1 << 60, 184)])
def test_a_trailer_whose_table_would_not_end_with_the_file_is_none(at: int, size: int) -> None:
    trailer = pack_format.encode_table([TableRow(0, 0, 0, bytes(32))], at)[-TRAILER_SIZE:]
    assert pack_format.table_begins(trailer, size) is None
    assert pack_format.table_begins(trailer, at + 8 + 44 + TRAILER_SIZE) == (at if at >= START_SIZE else None)


@pytest.mark.parametrize(("raw", "length"), [(pack_format.LONGEST_BLOCK + 1, 10), (10, pack_format.LONGEST_FRAME + 1)])
def test_a_header_that_claims_more_than_any_block_has_is_none(raw: int, length: int) -> None:
    entry = pack_format.make_entry(bytes(32), raw, bytes(length))
    assert pack_format.decode_header(entry.header) is None
