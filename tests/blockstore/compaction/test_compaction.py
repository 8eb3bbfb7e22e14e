"""Compaction gives back what is dead, moves whatever a row names, and leaves nothing half."""

from __future__ import annotations

import errno
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.block import Place
from blockstore.compaction.run import Compacting
from blockstore.index.contract import PackState
from blockstore.names import new_name
from tests.blockstore.compaction.scene import BLOCK, half_dead, is_sound, noise, opened, packs_by_state
from tests.kit.bad_sectors import unreadable
from tests.kit.compacted import FULL, bare, compacted, compacted_beside, counted, forget
from tests.kit.faulty_disk import FailingDisk
from tests.kit.filled_store import flip
from tests.kit.images_in_store import link, manifest_blocks, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path


def size_of_packs(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("packs/*/*.zst"))


def test_what_is_dead_is_given_back_and_what_lives_reads_the_same(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    before = size_of_packs(tmp_path)
    with closing(opened(tmp_path)) as store:
        done = compacted(store)
        assert (done.moved, done.notes, done.remarks) == (200, [], [])
        assert done.packs_rewritten > 3
        assert size_of_packs(tmp_path) < 0.55 * before
        assert done.freed == pytest.approx(before - size_of_packs(tmp_path), rel=0.1)
        assert packs_by_state(store).keys() == {PackState.SEALED}
        is_sound(store)
        assert image.is_right(store)
        again = compacted(store)
        assert (again.moved, again.packs_dropped, again.packs_rewritten) == (0, 0, 0)


def test_condemned_rows_move_stay_condemned_and_may_be_revived(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        names = manifest_blocks(store, image.chain)
        store.index.condemn_many(names[:50], b"a run")
        assert compacted(store).moved == 200
        assert store.index.get_many(names[:50]) == [None] * 50
        assert image.is_right(store)
        store.index.revive_many(names[:50])
        assert all(store.index.get_many(names))
        is_sound(store)


def test_a_damaged_block_stays_where_it_is_with_its_pack_and_the_others_move(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        name = manifest_blocks(store, image.chain)[10]
        (place,) = store.index.get_many([name])
        assert place is not None
        record = store.index.pack(place.pack)
        assert record is not None
        path = store.packs.path(record.name)
        flip(path, 8 * (place.offset + 500))
        done = compacted(store)
        assert done.moved == 199
        assert [f"{path} stays" in note for note in done.notes] == [True]
        assert store.index.bad_among([name])
        assert store.index.pack(place.pack) == record
        write_image(store, [image.data])
        assert image.is_right(store), "healed by the next upload"
        assert not compacted(store).notes
        assert not path.exists()


@pytest.mark.parametrize("where", ["its table", "an entry"])
def test_a_place_that_the_disk_cannot_read_keeps_nothing_else_from_being_given_back(tmp_path: Path, where: str) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        records = store.index.packs()
        place = store.index.get_many(manifest_blocks(store, image.chain)[:1])[0]
        assert place is not None
        record = store.index.pack(place.pack)
        assert record is not None
        path = store.packs.path(record.name)
        size = path.stat().st_size
        with unreadable(path, *((size - 30, size) if where == "its table" else (place.offset + 500, place.end))):
            done = compacted(store)
            if where == "its table":
                assert (done.packs_rewritten, done.moved, done.notes) == (len(records), 200, [])
            else:
                assert (done.packs_rewritten, done.moved) == (len(records) - 1, 199)
                assert [(f"{path} stays" in note, "cannot read" in note) for note in done.notes] == [(True, True)]
        assert path.exists() == (where == "an entry")
        assert image.is_right(store)
        assert compacted(store).notes == []
        is_sound(store)
        assert image.is_right(store)
        assert not path.exists()


def test_a_bad_row_whose_bytes_turn_out_right_is_good_again_when_it_has_moved(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        name = manifest_blocks(store, image.chain)[10]
        (place,) = store.index.get_many([name])
        assert place is not None
        store.index.mark_bad(name, place)
        assert compacted(store).moved == 200
        assert not store.index.bad_among([name])


def test_a_pack_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as store:
        kept = write_image(store, [noise(20, 1)])
        doomed = write_image(store, [noise(20, 2)])
        forget(store, manifest_blocks(store, [link(doomed)]))
        assert packs_by_state(store) == {PackState.OPEN: 1}
        done = compacted(store)
        assert (done.packs_dropped, done.packs_rewritten, done.moved) == (0, 0, 0)
        assert read_image(store, [link(kept)]) == noise(20, 1)
        more = write_image(store, [noise(20, 3)])
        assert read_image(store, [link(more)]) == noise(20, 3), "its writer goes on"


def test_many_small_packs_are_put_together(tmp_path: Path) -> None:
    chains = []
    for seed in range(16):
        with closing(opened(tmp_path)) as store:
            chains.append([link(write_image(store, [noise(3, seed)]))])
    with closing(opened(tmp_path)) as store:
        assert packs_by_state(store) == {PackState.SEALED: 16}
        assert compacted(store).packs_rewritten == 16
        assert packs_by_state(store) == {PackState.SEALED: 1}
        is_sound(store)
        assert [read_image(store, chain) for chain in chains] == [noise(3, seed) for seed in range(16)]


def test_a_run_copies_no_more_than_it_may_and_the_next_one_goes_on(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    most = 60 * BLOCK
    moved: list[int] = []
    with closing(opened(tmp_path)) as store:
        while not moved or moved[-1]:
            moved.append(compacted(store, how=Compacting(share=0, slack=0, most=most, full=FULL)).moved)
        is_sound(store)
        assert image.is_right(store)
    assert sum(moved) == 200
    assert len(moved) >= 4


@pytest.mark.parametrize("step", ["create .zst", "write .zst", "sync .zst", "index register", "index move"])
def test_a_full_disk_ends_it_with_a_remark_and_leaves_nothing_half(tmp_path: Path, step: str) -> None:
    image = half_dead(tmp_path)
    disk = FailingDisk(lambda what: what == step, errno.ENOSPC)
    with closing(opened(tmp_path, disk)) as store:
        before = size_of_packs(tmp_path)
        disk.armed = True
        done = compacted(store)
        assert disk.failures
        assert ("could not be synced" in done.notes[0]) if step == "sync .zst" else ("no room" in done.remarks[0])
        disk.armed = False
        assert image.is_right(store)
        assert size_of_packs(tmp_path) <= before + (FULL + (64 << 10) if step == "index move" else 0)
        is_sound(store)
    with closing(opened(tmp_path)) as store:
        assert compacted(store).moved == 200
        assert packs_by_state(store).keys() == {PackState.SEALED}
        is_sound(store)
        assert image.is_right(store)


def test_rows_that_name_what_the_pack_does_not_have_keep_it(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        record = store.index.packs()[0]
        store.index.put_many({bytes([7]) * 32: Place(record.number, 68, 100, BLOCK)})
        done = compacted(store)
        assert done.moved == 200
        assert [f"{store.packs.path(record.name)} stays: rows name blocks" in note for note in done.notes] == [True]
        assert store.index.pack(record.number) == record
        assert image.is_right(store)


def test_rows_that_went_after_they_were_counted_are_no_trouble(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        before = counted(store)
        for record in store.index.packs():
            before.usage.rows[record.number] += 5
        beside = bare(store)
        done = compacted_beside(beside, before, Compacting(share=0, slack=0, full=FULL))
        beside.writer.close()
        assert not done.notes
        assert done.moved == 200
        assert packs_by_state(store).keys() == {PackState.SEALED}
        is_sound(store)
        assert image.is_right(store)


def test_a_pack_half_removed_by_another_is_finished(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        emptied = store.index.register_pack(new_name(), "nobody")
        store.index.advance_pack(emptied, PackState.RETIRING)
        done = compacted(store, how=Compacting(full=FULL))
        assert not done.notes
        assert store.index.pack(emptied) is None
        is_sound(store)
        assert image.is_right(store)


def test_a_pack_that_was_taken_away_is_told_of(tmp_path: Path) -> None:
    half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        path = store.packs.path(store.index.packs()[0].name)
        path.unlink()
        assert f"{path} is gone, although rows name blocks in it" in compacted(store).notes
