from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from blockstore.features import Features
from blockstore.index.contract import PackState
from blockstore.leases.flock import LockFile
from blockstore.names import new_name
from blockstore.packs import pack_format, resync
from blockstore.packs.pack_format import TRAILER_SIZE, Start
from tests.blockstore.packs.yard import DEAD, STORE, Yard, entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.index.close()


def table_of(path: Path) -> list[bytes]:
    data = path.read_bytes()
    begins = pack_format.table_begins(data[-TRAILER_SIZE:], len(data))
    assert begins is not None
    return [row.digest for row in pack_format.decode_table(data[begins:], str(path))]


def digests(*seeds: int) -> list[bytes]:
    return [entry(seed).digest for seed in seeds]


@pytest.mark.parametrize("cut", [1, 100, 560])
def test_a_torn_tail_is_cut_off_and_the_pack_sealed(yard: Yard, cut: int) -> None:
    left = yard.leave()
    left.tear(cut)
    before = left.path.read_bytes()[: left.places[1].end]
    assert yard.adopt() == 1
    assert left.path.read_bytes().startswith(before)
    assert table_of(left.path) == digests(0, 1)
    assert yard.record(left).state is PackState.SEALED
    subprocess.run(["zstd", "-t", "-q", left.path], check=True)


def test_garbage_behind_the_last_entry_is_cut_off(yard: Yard) -> None:
    left = yard.leave()
    left.append(bytes(5000) + entry(9).header)
    assert yard.adopt() == 1
    assert table_of(left.path) == digests(0, 1, 2)
    subprocess.run(["zstd", "-t", "-q", left.path], check=True)


def test_entries_behind_a_hole_in_the_pack_are_kept(yard: Yard) -> None:
    # Pages that were not synced may reach the disk in any order.
    left = yard.leave()
    left.overwrite(left.places[1].offset, bytes(200))
    before = left.path.read_bytes()
    assert yard.adopt() == 1
    assert left.path.read_bytes().startswith(before)
    assert table_of(left.path) == digests(0, 2)


def test_nothing_is_cut_below_the_highest_end_that_a_row_named(yard: Yard) -> None:
    left = yard.leave(rows=3)
    left.overwrite(left.places[1].offset, bytes(left.places[2].end - left.places[1].offset))
    before = left.path.read_bytes()
    assert yard.adopt() == 1
    assert left.path.read_bytes().startswith(before)
    assert table_of(left.path) == digests(0)
    assert yard.record(left).state is PackState.SEALED


def test_what_lies_behind_the_highest_indexed_end_and_is_torn_is_cut(yard: Yard) -> None:
    left = yard.leave(rows=2)
    left.tear(1)
    assert yard.adopt() == 1
    data = left.path.read_bytes()
    assert (
        pack_format.table_begins(data[-TRAILER_SIZE:], len(data)) == left.places[1].end == yard.record(left).indexed_end
    )


def test_a_pack_shorter_than_its_rows_is_sealed_as_it_is_and_what_is_missing_is_bad(yard: Yard) -> None:
    left = yard.leave(rows=3)
    left.tear(700)
    before = left.path.read_bytes()
    assert yard.adopt() == 1
    assert left.path.read_bytes() == before
    assert yard.record(left).state is PackState.SEALED
    assert yard.index.get_many(digests(0, 1, 2)) == [left.places[0], None, None], "the next upload stores them anew"
    assert yard.index.get_many(digests(0, 1, 2), hidden=True) == left.places


def test_a_living_owners_pack_is_left_alone(yard: Yard) -> None:
    process = LockFile(yard.processes, "serve")
    left = yard.leave(owner=process.name)
    left.tear(1)
    before = left.path.read_bytes()
    assert yard.adopt() == 0
    assert (left.path.read_bytes(), yard.record(left).state) == (before, PackState.OPEN)
    process.close()
    assert yard.adopt() == 1


def test_a_pack_whose_lock_is_held_is_left_alone_whatever_its_owner(yard: Yard) -> None:
    name = new_name()
    number = yard.index.register_pack(name, DEAD)
    pack = yard.packs.create(number, name)
    pack.append([entry(1)])
    assert yard.adopt() == 0
    pack.append([entry(2)])
    pack.close()
    assert yard.adopt() == 1
    assert table_of(pack.path) == digests(1, 2)


def test_a_record_without_a_file_is_dropped(yard: Yard) -> None:
    number = yard.index.register_pack(new_name(), DEAD)
    assert yard.adopt() == 1
    assert yard.index.pack(number) is None


def test_a_record_whose_file_is_gone_stays_while_rows_name_it(yard: Yard) -> None:
    left = yard.leave(rows=1)
    left.path.unlink()
    done = yard.adopted()
    assert (done.count, [f"{left.path} is gone" in sentence for sentence in done.failed]) == (0, [True])
    assert yard.record(left).state is PackState.OPEN


def test_a_pack_that_was_sealed_before_the_register_knew_is_only_called_sealed(yard: Yard) -> None:
    left = yard.leave(sealed=True)
    before = left.path.read_bytes()
    assert yard.adopt() == 1
    assert (left.path.read_bytes(), yard.record(left).state) == (before, PackState.SEALED)


@pytest.mark.parametrize("cut", [1, 8, 24, 33, 100, 160])
def test_a_torn_table_is_written_again(yard: Yard, cut: int) -> None:
    left = yard.leave(sealed=True)
    before = left.path.read_bytes()
    left.tear(cut)
    assert yard.adopt() == 1
    assert left.path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 10, 68, 90])
def test_a_pack_with_no_entry_and_no_row_is_removed(yard: Yard, size: int) -> None:
    left = yard.leave(entries=1)
    left.tear(left.path.stat().st_size - size)
    assert yard.adopt() == 1
    assert not left.path.exists()
    assert yard.index.pack(left.number) is None


@pytest.mark.parametrize("short", [0, 1, 8, 31, 32, 39, 40, 50])
def test_a_torn_tail_that_looks_like_a_trailer_does_not_stop_the_adoption(yard: Yard, short: int) -> None:
    left = yard.leave()
    size = left.path.stat().st_size
    # The last bytes may be a piece of an image that itself is a pack, and claim any place for the table.
    fake = bytearray(pack_format.encode_table([], size + TRAILER_SIZE - short)[-TRAILER_SIZE:])
    left.append(bytes(fake))
    assert yard.adopt() == 1
    assert table_of(left.path) == digests(0, 1, 2)


def test_a_pack_in_a_newer_format_is_left_alone(yard: Yard) -> None:
    left = yard.leave()
    name = yard.record(left).name
    left.overwrite(0, pack_format.encode_start(Start(STORE, name, Features(incompat=2))))
    for place in left.places:
        left.overwrite(place.offset + 12, b"\x02")
    before = left.path.read_bytes()
    assert yard.adopt() == 0
    assert (left.path.read_bytes(), yard.record(left).state) == (before, PackState.OPEN)


@pytest.mark.parametrize("step", ["write", "truncate", "sync", "sync_directory"])
def test_an_adoption_that_fails_is_done_at_the_next_start(yard: Yard, step: str) -> None:
    left, other = yard.leave(), yard.leave(sealed=True)
    left.tear(1)
    yard.disk.failing = {step}
    assert any(f"{left.path} could not be sealed" in sentence for sentence in yard.adopted().failed)
    assert yard.record(left).state is PackState.OPEN
    yard.disk.failing = set()
    yard.adopt()
    assert yard.record(left).state is yard.record(other).state is PackState.SEALED
    assert table_of(left.path) == digests(0, 1)


def test_one_of_several_adopters_wins_and_the_others_leave_it(yard: Yard) -> None:
    lefts = [yard.leave() for _ in range(8)]
    with ThreadPoolExecutor(4) as threads:
        adopted = list(threads.map(lambda _: yard.adopt(), range(4)))
    assert sum(adopted) == len(lefts)
    assert all(table_of(left.path) == digests(0, 1, 2) for left in lefts)


def test_sealed_and_retiring_packs_are_not_touched(yard: Yard) -> None:
    sealed, retiring = yard.leave(), yard.leave()
    yard.index.advance_pack(sealed.number, PackState.SEALED)
    yard.index.advance_pack(retiring.number, PackState.RETIRING)
    assert yard.adopt() == 0


def test_rows_of_an_adopted_pack_still_lead_to_their_blocks(yard: Yard) -> None:
    left = yard.leave(rows=2)
    left.tear(1)
    yard.adopt()
    name = yard.record(left).name
    for made, place in zip([entry(0), entry(1)], yard.index.get_many(digests(0, 1)), strict=True):
        assert place is not None
        assert yard.packs.read_many(name, [(place.offset, place.end)]) == [made.header + made.data]


def test_an_adopted_pack_reads_to_its_table_without_a_gap(yard: Yard) -> None:
    left = yard.leave()
    left.tear(3)
    yard.adopt()
    fd = os.open(left.path, os.O_RDONLY)
    *found, table = resync.walk(fd)
    os.close(fd)
    assert all(isinstance(part, resync.Found) for part in found)
    assert isinstance(table, resync.Skipped)
