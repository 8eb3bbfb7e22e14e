"""A session's journal: several writers, one after another, and what each of them knows."""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
import tracemalloc
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore import journal, session_journal
from blockstore.arrivals import ABSENT, FIRST, IS_HOLE, Arrivals
from blockstore.digest import HOLE
from blockstore.disk import Disk
from blockstore.errors import BlockConflict, JournalDamaged, Missing, StoreUnavailable
from blockstore.journal import HEADER_SIZE, RECORD_SIZE, NumberArrays, Record, hole_run, numbers_in, numbers_of
from blockstore.sent_blocks import NumberRange
from blockstore.session_journal import SessionJournal
from tests.blockstore.shelf import STORE, name
from tests.kit.filled_store import flip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

PIN = "ab" * 16
BLOCKS = 5000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = journal.path_of(tmp_path, PIN)
    session_journal.create(path, STORE, PIN, Disk())
    return path


def opened(path: Path, disk: Disk | None = None, blocks: int = BLOCKS, acknowledged: int = 0) -> SessionJournal:
    return SessionJournal(path, blocks, disk or Disk(), acknowledged=acknowledged)


def data(*numbers: int) -> list[Record]:
    return [Record(number, name(number)) for number in numbers]


def arrays(records: list[Record]) -> NumberArrays:
    return numbers_in(journal.decode_records(journal.encode_records(records, 0), 0))


def ranges(found: SessionJournal, start: int = 0, most: int = 100) -> list[tuple[int, int]]:
    return [(each.first, each.count) for each in found.arrived(start, most)[0]]


def digests(found: SessionJournal) -> dict[int, bytes]:
    found.count()
    return {first + at: what for first, names in found.leaves() for at, what in enumerate(names) if what is not None}


def test_two_writers_go_on_where_the_other_stopped(path: Path) -> None:
    one, two = opened(path), opened(path)
    one.append(data(3, 4))
    two.append([*data(5), hole_run(NumberRange(1000, 2000))])
    one.append(data(4999))
    for each in (one, two, opened(path)):
        assert ranges(each) == [(3, 3), (1000, 2000), (4999, 1)]
        assert each.count() == 2004
    assert path.stat().st_size == HEADER_SIZE + 5 * RECORD_SIZE


def test_what_has_arrived_is_found_again_by_leaves(path: Path) -> None:
    writer = opened(path)
    writer.append([*data(*range(200), 1024), hole_run(NumberRange(1025, 3000))])
    expected = {n: name(n) for n in (*range(200), 1024)} | dict.fromkeys(range(1025, 4025), HOLE)
    again = opened(path)
    assert again.count() == len(expected)
    assert digests(again) == digests(writer) == expected
    assert again.has(199)
    assert not again.has(200)


def test_a_number_arrives_once(path: Path) -> None:
    writer = opened(path)
    writer.append([*data(1, 2), hole_run(NumberRange(10, 10))])
    size = path.stat().st_size
    writer.append([*data(1, 2), hole_run(NumberRange(12, 3))])
    assert path.stat().st_size == size
    for record in (Record(1, name(99)), Record(10, name(10)), hole_run(NumberRange(0, 3)), hole_run(NumberRange(2, 1))):
        with pytest.raises(BlockConflict, match="has arrived with other bytes") as refused:
            opened(path).append([*data(500), record])
        assert list(refused.value.numbers) == [numbers_of(record)]
        assert not opened(path).has(500)
    writer.append([hole_run(NumberRange(5, 30))])
    assert ranges(writer) == [(1, 2), (5, 30)]


def test_a_page_of_ranges_says_where_to_go_on(path: Path) -> None:
    writer = opened(path)
    writer.append(data(*range(0, 2500, 2)))
    found, start = [], 0
    while True:
        page, following = writer.arrived(start, 7)
        assert len(page) <= 7
        found += page
        if following is None:
            break
        start = following
    assert [each.first for each in found] == list(range(0, 2500, 2))
    assert ranges(writer, start=2497) == [(2498, 1)]
    assert ranges(writer, start=4000) == []


@pytest.mark.parametrize("torn", [1, RECORD_SIZE - 1, RECORD_SIZE, 3 * RECORD_SIZE])
def test_a_torn_tail_is_cut_off_before_the_next_append(path: Path, torn: int) -> None:
    opened(path).append(data(1))
    with path.open("ab") as file:
        file.write(b"\x07" * torn)
    writer = opened(path)
    assert ranges(writer) == [(1, 1)]
    writer.append(data(2))
    assert ranges(opened(path)) == [(1, 2)]
    assert path.stat().st_size == HEADER_SIZE + 2 * RECORD_SIZE


@pytest.mark.parametrize("record", [0, 1, 2])
def test_fewer_records_than_were_acknowledged_are_damage_and_nothing_is_cut_off(path: Path, record: int) -> None:
    opened(path).append(data(1, 2, 3))
    flip(path, (HEADER_SIZE + record * RECORD_SIZE + RECORD_SIZE // 2) * 8)
    rotten = path.read_bytes()
    for acknowledged in (record + 1, 3):
        reader = opened(path, acknowledged=acknowledged)
        for work in (reader.count, lambda reader=reader: reader.append(data(4)), reader.count):
            with pytest.raises(
                JournalDamaged, match=f"has {record} of the {acknowledged} records .* give this upload up"
            ):
                work()
    assert path.read_bytes() == rotten
    # What nobody was told of is a torn tail.
    assert opened(path, acknowledged=record).count() == record


def test_a_journal_that_shrinks_while_it_is_known_is_damaged(path: Path) -> None:
    writer = opened(path)
    writer.append(data(1, 2, 3))
    os.truncate(path, HEADER_SIZE + RECORD_SIZE)
    for work in (writer.count, lambda: writer.append(data(4))):
        with pytest.raises(JournalDamaged, match="has 1 of the 3 records"):
            work()
    assert path.stat().st_size == HEADER_SIZE + RECORD_SIZE


@pytest.mark.parametrize("left", [0, 20, HEADER_SIZE - 1])
def test_a_session_without_its_header_is_damaged(path: Path, left: int) -> None:
    os.truncate(path, left)
    with pytest.raises(JournalDamaged, match="header is damaged: give this upload up"):
        opened(path).count()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As another process that is in the middle of an append."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_nobody_waits_for_ever_for_a_process_that_stands_still(path: Path) -> None:
    opened(path).append(data(1, 2, 3))
    reader = SessionJournal(path, BLOCKS, Disk(), acknowledged=2, patience=1)
    with locked(path):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"not free within 1 s: .* stopped or stuck"):
            reader.count()
        assert 1 <= time.monotonic() - began < 20
        # What was acknowledged is read all the same, and who comes later doesn't wait for what nobody gets.
        assert reader.records == 2
        began = time.monotonic()
        for work in (lambda: reader.append(data(4)), reader.count):
            with pytest.raises(StoreUnavailable):
                work()
        assert time.monotonic() - began < 1
    assert ranges(reader) == [(1, 3)]
    reader.append(data(4))
    assert reader.count() == 4


def test_one_waits_for_an_append_that_is_under_way(path: Path) -> None:
    reader = opened(path)
    with ExitStack() as stack:
        stack.enter_context(locked(path))
        threading.Timer(0.2, stack.pop_all().close).start()
        assert reader.count() == 0


def test_many_records_are_read_on_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blockstore.session_journal.PIECE", 100)
    numbers = random.Random(1).sample(range(BLOCKS), 1050)
    opened(path).append(data(*numbers))
    for acknowledged in (0, 100, 730, 1050):
        assert digests(opened(path, acknowledged=acknowledged)) == {n: name(n) for n in numbers}


def test_a_read_that_ends_early_is_no_torn_tail(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(path).append(data(*range(100)))
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: whole(fd, min(length, 1000), at))
    reader = opened(path)
    assert ranges(reader) == [(0, 100)]
    reader.append(data(100))
    monkeypatch.undo()
    assert digests(opened(path)) == {n: name(n) for n in range(101)}


def test_nothing_is_appended_after_the_session(path: Path) -> None:
    writer = opened(path)
    writer.append(data(1))
    path.unlink()
    for work in (lambda: writer.append(data(2)), writer.count, lambda: writer.arrived(0, 1)):
        with pytest.raises(Missing, match="is gone"):
            work()
    assert not path.exists()


def test_what_a_dead_writer_left_unsynced_is_made_durable_before_it_is_told(path: Path) -> None:
    class Noting(Disk):
        synced = 0

        def sync(self, fd: int, what: str) -> None:
            self.synced += 1
            super().sync(fd, what)

    class Dying(Disk):
        def sync(self, fd: int, what: str) -> None:
            os._exit(0)

    child = os.fork()
    if not child:
        opened(path, Dying()).append(data(1))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    disk = Noting()
    reader = opened(path, disk)
    assert ranges(reader) == [(1, 1)]
    assert disk.synced == 1
    reader.count()
    assert disk.synced == 1


def test_what_was_read_on_is_not_told_before_a_sync_has_succeeded(path: Path) -> None:
    class Failing(Disk):
        fails = 2
        written = 0

        def write(self, fd: int, buffers: Sequence[Buffer], at: int, what: str) -> int:
            self.written += 1
            return super().write(fd, buffers, at, what)

        def sync(self, fd: int, what: str) -> None:
            self.fails -= 1
            if self.fails >= 0:
                raise StoreUnavailable("no")
            super().sync(fd, what)

    opened(path).append(data(1, 2))
    disk = Failing()
    reader = opened(path, disk)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            reader.count()
    assert ranges(reader) == [(1, 2)]
    # Once for each sync that followed one that failed.
    assert (disk.fails, disk.written) == (-1, 2)
    assert ranges(opened(path)) == [(1, 2)]
    reader.append(data(3))
    assert ranges(opened(path)) == [(1, 3)]


def test_what_could_not_be_synced_has_not_arrived(path: Path) -> None:
    class Failing(Disk):
        def sync(self, fd: int, what: str) -> None:
            raise StoreUnavailable("no")

    with pytest.raises(StoreUnavailable):
        opened(path, Failing()).append(data(1))
    assert ranges(opened(path)) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_many_writers_at_once_lose_nothing(path: Path) -> None:
    writers = [opened(path), opened(path)]

    def work(thread: int) -> None:
        for number in range(thread, 400, 8):
            writers[thread % 2].append(data(number))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ranges(opened(path)) == [(0, 400)]
    assert digests(opened(path)) == {n: name(n) for n in range(400)}


def test_a_run_of_holes_in_each_leaf_takes_no_leafs_memory() -> None:
    runs = [hole_run(NumberRange(key * 1024 + 1, 1022)) for key in range(4096)]
    tracemalloc.start()
    arrivals = Arrivals()
    arrivals.learn(arrays(runs), 0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert arrivals.count == 4096 * 1022
    assert taken < 4096 * 1024


ITEMS = st.lists(st.tuples(st.booleans(), st.integers(0, BLOCKS - 1), st.integers(1, 2500)), max_size=30)


def learned(items: list[tuple[bool, int, int]], together: int) -> tuple[Arrivals, dict[int, int]]:
    """So many records at a time; and the same as a dict."""
    arrivals, model = Arrivals(), dict[int, int]()
    records = []
    for seq, (hole, first, count) in enumerate(items):
        numbers = NumberRange(first, min(count, BLOCKS - first) if hole else 1)
        records.append(hole_run(numbers) if hole else Record(first, name(1)))
        model |= dict.fromkeys(range(first, numbers.stop), IS_HOLE if hole else seq + FIRST)
    for first in range(0, len(records), together):
        arrivals.learn(arrays(records[first : first + together]), first)
    return arrivals, model


@given(items=ITEMS, together=st.integers(1, 30), about=st.tuples(st.integers(0, BLOCKS - 1), st.integers(1, 3000)))
def test_arrivals_are_a_map_of_numbers(
    items: list[tuple[bool, int, int]], together: int, about: tuple[int, int]
) -> None:
    arrivals, model = learned(items, together)
    assert arrivals.count == len(model)
    assert {n: arrivals.at(n) for n in range(BLOCKS) if arrivals.at(n) != ABSENT} == model
    found, following = arrivals.ranges(0, BLOCKS)
    assert following is None
    assert [n for each in found for n in range(each.first, each.stop)] == sorted(model)
    asked = range(about[0], min(BLOCKS, sum(about)))
    known = {model.get(number, ABSENT) for number in asked}
    assert arrivals.about(NumberRange(asked.start, len(asked))) == (ABSENT in known, any(n >= FIRST for n in known))


@given(st.lists(st.tuples(st.booleans(), st.integers(1020, 1030), st.integers(1, 20)), min_size=1, max_size=80))
def test_arrivals_on_both_sides_of_a_leafs_border(items: list[tuple[bool, int, int]]) -> None:
    arrivals, model = learned(items, 80)
    assert {n: arrivals.at(n) for n in range(1000, 1060) if arrivals.at(n) != ABSENT} == model


def test_what_arrivals_say_that_they_take_is_about_what_they_take() -> None:
    for numbers in (range(1 << 14), range(0, 1 << 16, 4), range(0, 1 << 21, 1024)):
        records = arrays([Record(number, name(1)) for number in numbers])
        tracemalloc.start()
        arrivals = Arrivals()
        arrivals.learn(records, 0)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken / 1.5 < arrivals.taken < taken * 1.5
