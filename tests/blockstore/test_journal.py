from __future__ import annotations

import errno
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore import journal
from blockstore.checksum import xxh3
from blockstore.disk import Disk
from blockstore.errors import Damaged, DataRefused, StoreUnavailable
from blockstore.journal import HEADER_SIZE, RECORD_SIZE, Journal, Record
from blockstore.names import new_name
from tests.blockstore.shelf import records_in

if TYPE_CHECKING:
    from pathlib import Path

STORE = bytes(range(16))
PIN = bytes(range(16, 32))
records = st.lists(st.builds(Record, st.integers(0, (1 << 64) - 1), st.binary(min_size=32, max_size=32)), max_size=12)
HEADER = journal.encode_header(STORE, PIN)


def some(count: int, first: int = 0) -> list[Record]:
    return [Record(number, number.to_bytes(32, "big")) for number in range(first, first + count)]


@given(noted=records)
def test_records_come_back(noted: list[Record]) -> None:
    assert records_in(HEADER + journal.encode_records(noted, 0)) == noted


@given(noted=records, where=st.floats(0, 1))
def test_a_journal_torn_anywhere_has_the_records_before_the_tear(noted: list[Record], where: float) -> None:
    whole = HEADER + journal.encode_records(noted, 0)
    size = int(where * len(whole))
    assert records_in(whole[:size]) == noted[: max(0, size - HEADER_SIZE) // RECORD_SIZE]


@given(noted=records.filter(bool), where=st.floats(0, 1, exclude_max=True))
def test_a_flipped_bit_ends_the_journal_there(noted: list[Record], where: float) -> None:
    tail = bytearray(journal.encode_records(noted, 0))
    bit = int(where * len(tail) * 8)
    tail[bit // 8] ^= 1 << bit % 8
    assert records_in(HEADER + bytes(tail)) == noted[: bit // 8 // RECORD_SIZE]


@given(noted=records, garbage=st.binary(max_size=3 * RECORD_SIZE))
def test_garbage_behind_the_last_record_is_ignored(noted: list[Record], garbage: bytes) -> None:
    assert records_in(HEADER + journal.encode_records(noted, 0) + garbage) == noted
    assert records_in(HEADER + journal.encode_records(noted, 0) + bytes(len(garbage))) == noted


def test_a_record_in_another_place_than_its_number_ends_the_journal() -> None:
    one, two = journal.encode_records(some(2), 0)[:RECORD_SIZE], journal.encode_records(some(2), 0)[RECORD_SIZE:]
    assert records_in(HEADER + one + one) == some(1)
    assert records_in(HEADER + two) == []


@pytest.mark.parametrize("at", [0, 9, 20, 36, 52, HEADER_SIZE - 1])
def test_a_damaged_header_is_damaged(at: int) -> None:
    bad = HEADER[:at] + bytes([HEADER[at] ^ 1]) + HEADER[at + 1 :]
    with pytest.raises(Damaged, match="the journal's header is damaged"):
        records_in(bad + journal.encode_records(some(1), 0))


def test_a_newer_journal_is_refused() -> None:
    body = HEADER[:16] + b"\x02" + HEADER[17:-8]
    with pytest.raises(DataRefused, match="was written in a newer format"):
        records_in(body + xxh3(body).to_bytes(8, "little"))


def test_no_file_is_made_before_the_first_record(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, STORE, PIN.hex(), Disk())):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_was_appended_is_in_the_file(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, STORE, PIN.hex(), Disk())) as noted:
        noted.append(some(3))
        path = journal.path_of(tmp_path, PIN.hex())
        assert records_in(path.read_bytes()) == some(3)
        noted.append([])
        noted.append(some(2, 3))
        assert records_in(path.read_bytes()) == some(5)
    assert path.read_bytes() == HEADER + journal.encode_records(some(5), 0)


def test_two_pins_have_two_files(tmp_path: Path) -> None:
    for count in (1, 2):
        with closing(Journal(tmp_path, STORE, new_name().hex(), Disk())) as noted:
            noted.append(some(count))
    assert sorted(len(records_in(path.read_bytes())) for path in tmp_path.iterdir()) == [1, 2]


def test_a_pin_that_has_a_journal_gets_no_second_one(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, STORE, PIN.hex(), Disk())) as noted:
        noted.append(some(1))
    with pytest.raises(StoreUnavailable), closing(Journal(tmp_path, STORE, PIN.hex(), Disk())) as again:
        again.append(some(1, 7))
    assert records_in(journal.path_of(tmp_path, PIN.hex()).read_bytes()) == some(1)


class TornOnce(Disk):
    """Writes 70 bytes of one write, then says that the disk failed."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def write(self, fd: int, buffers, at: int, what: str) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001 - as in Disk
        self.left -= 1
        if self.left == 0:
            os.pwrite(fd, b"".join(bytes(part) for part in buffers)[:70], at)
            raise StoreUnavailable(os.strerror(errno.EIO))
        return super().write(fd, buffers, at, what)


@pytest.mark.parametrize("nth", [2, 3])
def test_an_append_that_failed_leaves_no_record_that_was_not_given(tmp_path: Path, nth: int) -> None:
    with closing(Journal(tmp_path, STORE, PIN.hex(), TornOnce(nth))) as noted:
        with pytest.raises(StoreUnavailable):
            for first in (0, 5):
                noted.append(some(5, first))
        kept = records_in(journal.path_of(tmp_path, PIN.hex()).read_bytes())
        assert kept == some(10)[: len(kept)]
        assert len(kept) >= 5 * (nth - 2)
