"""Packs whose own word cannot be believed go only if no row names them, whatever was counted before."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.collection.pace import Pace
from blockstore.collection.packs import finish_retiring
from blockstore.compaction.run import Compacting
from blockstore.index.contract import PackState
from tests.blockstore.compaction.scene import half_dead, is_sound, opened
from tests.blockstore.compaction.test_races import Once
from tests.kit.compacted import FULL, bare, compacted, compacted_beside, counted, forget
from tests.kit.filled_store import flip
from tests.kit.freezing import stepping
from tests.kit.images_in_store import manifest_blocks

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.block import Place
    from blockstore.index.contract import PackRecord
    from blockstore.store import BlockStore
    from tests.blockstore.compaction.scene import Kept

DROPPING = Compacting(share=1, slack=1, full=FULL)


@dataclass(frozen=True, slots=True)
class Emptied:
    """A pack whose rows are all gone; a block of it that comes back, which nothing in the pack lists."""

    record: PackRecord
    path: Path
    name: bytes
    place: Place

    def come_back(self, store: BlockStore) -> None:
        """As by an upload that met the block in this pack before it was sealed."""
        store.index.put_many({self.name: self.place})

    def is_kept(self, store: BlockStore) -> bool:
        return (
            self.path.exists()
            and store.index.pack(self.record.number) is not None
            and store.index.get_many([self.name]) == [self.place]
        )


def emptied(store: BlockStore, image: Kept) -> Emptied:
    names = manifest_blocks(store, image.chain)
    places = dict(zip(names, store.index.get_many(names), strict=True))
    name, place = next((name, place) for name, place in places.items() if place is not None)
    record = store.index.pack(place.pack)
    assert record is not None
    path = store.packs.path(record.name)
    # The block's bytes are right, but neither the table nor its header say that it is there.
    flip(path, 8 * path.stat().st_size - 20)
    flip(path, 8 * place.offset + 100)
    forget(store, [name for name, found in places.items() if found is not None and found.pack == place.pack])
    return Emptied(record, path, name, place)


def test_rows_that_came_after_the_count_keep_a_pack_without_a_table(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        pack = emptied(store, image)
        before = counted(store)
        pack.come_back(store)
        beside = bare(store)
        done = compacted_beside(beside, before, DROPPING)
        beside.writer.close()
        assert pack.is_kept(store)
        assert [f"{pack.path} stays: rows name blocks" in note for note in done.notes] == [True]
        assert store.index.pack(pack.record.number) == pack.record, "it is sealed as before"


def test_rows_that_come_between_the_scan_and_its_retirement_keep_a_pack_without_a_table(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        pack = emptied(store, image)
        back = Once("retire_pack", lambda: pack.come_back(store))
        compacted_beside(stepping(store, back), counted(store), DROPPING)
        assert back.done
        assert pack.is_kept(store)
        compacted(store)
        assert pack.is_kept(store), "nor is it removed by the next one"
        forget(store, [pack.name])
        assert not compacted(store).notes
        is_sound(store)
        assert not pack.path.exists()


def test_a_pack_without_a_table_that_was_left_half_retired_is_looked_at_again(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        pack = emptied(store, image)
        pack.come_back(store)
        store.index.advance_pack(pack.record.number, PackState.RETIRING)
        beside = bare(store)
        assert finish_retiring(beside, Pace(beside, None)) == 0
        assert pack.is_kept(store)
        forget(store, [pack.name])
        assert finish_retiring(beside, Pace(beside, None)) > 0
        beside.writer.close()
        assert not pack.path.exists()
        assert store.index.pack(pack.record.number) is None


def test_the_table_of_another_pack_says_nothing_of_this_one(tmp_path: Path) -> None:
    """A file that was put back under a wrong name: its table is right, and lists another pack's blocks."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        pack = emptied(store, image)
        other = next(record for record in store.index.packs() if record.number != pack.record.number)
        pack.path.write_bytes(store.packs.path(other.name).read_bytes())
        before = counted(store)
        pack.come_back(store)
        compacted_beside(bare(store), before, DROPPING)
        assert pack.is_kept(store)


def test_rows_that_came_after_the_count_keep_the_record_of_a_pack_whose_file_is_away(tmp_path: Path) -> None:
    """Whoever puts the file back, from a backup, has the block again."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        pack = emptied(store, image)
        data = pack.path.read_bytes()
        before = counted(store)
        pack.come_back(store)
        pack.path.unlink()
        compacted_beside(bare(store), before, DROPPING)
        pack.path.write_bytes(data)
        assert pack.is_kept(store)


def test_one_scan_decides_about_all_of_them(tmp_path: Path) -> None:
    half_dead(tmp_path)
    scans: list[str] = []

    def note(name: str) -> None:
        if name == "rows":
            scans.append(name)

    with closing(opened(tmp_path)) as store:
        paths = [store.packs.path(record.name) for record in store.index.packs()]
        assert len(paths) > 3
        for path in paths:
            flip(path, 8 * path.stat().st_size - 20)
        done = compacted_beside(stepping(store, note), counted(store), Compacting(share=0, slack=0, full=FULL))
        assert done.packs_rewritten == len(paths)
        assert len(scans) == 2, "before they are retired, and after"
        is_sound(store)
