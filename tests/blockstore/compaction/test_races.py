"""Compaction beside writers and other compactors: each test fails without the protection that it names."""

from __future__ import annotations

import itertools
import shutil
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.compaction.pace import Turns
from blockstore.compaction.retiring import Retiring
from blockstore.compaction.run import Compacted, Compacting
from blockstore.errors import StoreUnavailable
from blockstore.index.contract import PackState
from blockstore.throttle import Throttle
from tests.blockstore.compaction.scene import Kept, half_dead, is_sound, noise, opened, packs_by_state, strewn
from tests.kit.compacted import FULL, bare, compacted, compacted_beside, counted, forget, roots_of
from tests.kit.freezing import Freezer, freezing, stepping
from tests.kit.images_in_store import link, manifest_blocks, write_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blockstore.block import Place
    from blockstore.store import BlockStore

ALL = Compacting(share=0, slack=0, full=FULL)
ORDERED = Compacting(full=FULL, least_extra=8)


def compacted_with(store: BlockStore, act: Callable[[str], object]) -> Compacted:
    """Compact, with `act` told of each call of the index before it is made."""
    before = counted(store)
    return compacted_beside(stepping(store, act), before, ALL)


class Once:
    """Does something before the first call of one name that it is told of."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name, self._act, self.done = name, act, False

    def __call__(self, name: str) -> None:
        if name == self._name and not self.done:
            self.done = True
            self._act()


def frozen_and_revived(root: Path, image: Kept, at: int, how: Compacting) -> bool:
    """One compactor stands still before its step `at`, another runs, then the first goes on; whether it stood still."""
    chains = [image.chain]
    with closing(opened(root)) as store:
        freezer, before = Freezer(at), counted(store)
        work = (freezing(store, freezer), before, how, roots_of(chains))
        frozen = threading.Thread(target=compacted_beside, args=work)
        frozen.start()
        while frozen.is_alive() and not freezer.frozen.wait(0.01):
            pass
        stood = freezer.frozen.is_set()
        compacted(store, chains, how)
        assert image.is_right(store)
        is_sound_but_for_open_packs(store)
        freezer.thaw()
        frozen.join(60)
        assert not frozen.is_alive()
        compacted(store, chains, how)
        assert packs_by_state(store).keys() == {PackState.SEALED}, freezer.steps
        is_sound(store)
        assert image.is_right(store)
        assert all(counted(store).usage.rows[record.number] for record in store.index.packs()), "no pack without rows"
        assert compacted(store, chains, how).gathered == 0, "it is in order"
    return stood


def is_sound_but_for_open_packs(store: BlockStore) -> None:
    known = {store.packs.path(record.name) for record in store.index.packs()}
    assert set(store._data.folder("packs").glob("*/*.zst")) <= known


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize(("scene", "how"), [(half_dead, ALL), (strewn, ORDERED)], ids=["dead", "strewn"])
def test_two_compactors_on_the_same_packs_one_frozen_before_any_step_and_revived(
    tmp_path: Path, scene: Callable[[Path, int], Kept], how: Compacting, part: int
) -> None:
    origin, root = tmp_path / "origin", tmp_path / "data"
    image = scene(origin, 70)
    for at in itertools.count(1 + part, 4):
        shutil.copytree(origin, root)
        if not frozen_and_revived(root, image, at, how):
            assert at > 20, "as many places to stand still at as there should be"
            return
        shutil.rmtree(root)


def condemned_in(store: BlockStore, image: Kept) -> tuple[bytes, Place]:
    """A block that a collection has condemned and an upload met as pending before; and where that upload has it."""
    name = manifest_blocks(store, image.chain)[0]
    (place,) = store.index.get_many([name])
    assert place is not None
    store.index.condemn_many([name], b"a run")
    return name, place


def test_a_row_that_is_put_back_into_a_pack_while_its_rows_move_keeps_the_pack_until_it_has_moved(
    tmp_path: Path,
) -> None:
    """Rows are looked for when the pack becomes retiring, in that transaction: its own rows moved long before."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        name, place = condemned_in(store, image)
        back = Once("retire_pack", lambda: store.index.put_many({name: place}))
        assert not compacted_with(store, back).notes
        assert back.done
        assert store.index.get_many([name]) == [place], "live again, in the old pack"
        assert image.is_right(store)
        assert not compacted(store).notes
        assert store.index.pack(place.pack) is None
        is_sound(store)
        assert image.is_right(store)


def test_a_row_cannot_come_to_a_pack_that_was_found_without_rows(tmp_path: Path) -> None:
    """Not even one that was found bad where it is now, and that a writer has met in that pack before."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        name = manifest_blocks(store, image.chain)[0]
        (old,) = store.index.get_many([name])
        assert old is not None
        refused = []

        def put() -> None:
            (now,) = store.index.get_many([name])
            assert now is not None
            assert store.index.mark_bad(name, now)
            with pytest.raises(StoreUnavailable, match="retired"):
                store.index.put_many({name: old})
            refused.append(True)

        compacted_with(store, Once("drop_pack", put))
        assert refused
        is_sound(store)
        assert image.is_right(store)


def test_a_block_that_an_upload_brings_again_while_it_is_copied_stays_where_the_upload_put_it(tmp_path: Path) -> None:
    """Moving compares the old place; otherwise the row would leave a block that was stored and verified last."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        name = manifest_blocks(store, image.chain)[0]
        (old,) = store.index.get_many([name])
        assert old is not None
        healed = []

        def heal() -> None:
            store.index.mark_bad(name, old)
            write_image(store, [image.data])
            healed.extend(store.index.get_many([name]))

        done = compacted_with(store, Once("move_many", heal))
        assert done.moved == 199
        assert store.index.get_many([name]) == healed != [old]
        is_sound(store)
        assert image.is_right(store)


def test_a_block_that_is_forgotten_while_it_is_copied_does_not_come_back(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        name = manifest_blocks(store, image.chain)[0]
        assert compacted_with(store, Once("move_many", lambda: forget(store, [name]))).moved == 199
        assert store.index.get_many([name], hidden=True) == [None]
        is_sound(store)


def test_the_pack_that_rows_are_about_to_move_into_is_nobodys_garbage(tmp_path: Path) -> None:
    """It is open until they are in: another collection, which sees no row for it, leaves it alone."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        states = []

        def collect() -> None:
            states.append(max(store.index.packs(), key=lambda record: record.number).state)
            compacted(store, how=Compacting(share=1, slack=1, full=FULL))

        assert compacted_with(store, Once("move_many", collect)).moved == 200
        assert states == [PackState.OPEN]
        is_sound(store)
        assert image.is_right(store)


def test_rows_do_not_move_into_a_pack_that_somebody_has_retired(tmp_path: Path) -> None:
    """Whoever took the new pack for garbage, against all rules, wins: the rows stay where they were."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:

        def retire_it() -> None:
            newest = max(store.index.packs(), key=lambda record: record.number)
            beside = bare(store)
            store.index.advance_pack(newest.number, PackState.SEALED)
            retiring = Retiring(beside, Turns(beside.writer, Throttle(None)))
            retiring.remove(newest)
            assert retiring.removed
            beside.writer.close()

        with pytest.raises(StoreUnavailable, match="retired"):
            compacted_with(store, Once("move_many", retire_it))
        is_sound(store)
        assert image.is_right(store)
        assert compacted(store).moved == 200
        assert image.is_right(store)


def test_a_pack_is_sealed_with_the_last_of_its_rows(tmp_path: Path) -> None:
    half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        seen: list[PackState] = []

        def look(name: str) -> None:
            if name in {"move_many", "retire_pack"}:
                seen.append(max(store.index.packs(), key=lambda record: record.number).state)

        compacted_with(store, look)
        assert seen[:2] == [PackState.OPEN, PackState.SEALED]


def test_uploads_beside_compactions_lose_nothing(tmp_path: Path) -> None:
    """Uploads of what was stored, deleted and stored again, while packs are rewritten all the time."""
    image = half_dead(tmp_path, 60)
    with closing(opened(tmp_path)) as store:
        stop = threading.Event()
        runs = []

        def work() -> None:
            while not stop.is_set():
                runs.append(compacted(store).moved)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            kept = []
            for seed in range(12):
                data = noise(40, seed % 4) + noise(10, 100 + seed)
                written = write_image(store, [data])
                if seed % 2:
                    kept.append(Kept([link(written)], data))
                mine = manifest_blocks(store, [link(written)])[40:]
                if not seed % 2:
                    forget(store, mine)
        finally:
            stop.set()
            worker.join(60)
        assert sum(runs) > 50
        assert image.is_right(store)
        assert all(each.is_right(store) for each in kept)
        compacted(store)
        is_sound(store)
