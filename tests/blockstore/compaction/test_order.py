"""Images that many increments have strewn over packs are put in order, once, and never at another's cost."""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from blockstore.compaction.run import Compacting
from blockstore.compaction.seen import Seen
from blockstore.store import BlockStore
from tests.blockstore.compaction.scene import BLOCK, OPTIONS, Chain, Kept, is_sound, noise
from tests.kit.compacted import compacted
from tests.kit.images_in_store import link, write_image
from tests.kit.pack_reads import counted_reads

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
# Made once, not by each worker of the tests.
MONTH = pytest.mark.xdist_group("month")
LONG_PACKS = replace(OPTIONS, pack_full=4 * MIB, slab=MIB // 2, slab_budget=4 * MIB)
HOW = Compacting(full=4 * MIB)
BLOCKS = 4096
NIGHTS = 30


def opened(root: Path) -> BlockStore:
    return BlockStore.open(root, LONG_PACKS)


def night(store: BlockStore, before: Kept, seed: int, *, blocks: int = BLOCKS // 40) -> Kept:
    """The next version of an image: one block in forty, wherever it lies, is another."""
    data = bytearray(before.data)
    for number in random.Random(seed).sample(range(len(data) // BLOCK), blocks):
        data[number * BLOCK : (number + 1) * BLOCK] = random.Random(seed * BLOCKS + number).randbytes(BLOCK)
    return stored(store, bytes(data), before.chain)


def stored(store: BlockStore, data: bytes, base: Chain = []) -> Kept:  # noqa: B006 - it is not changed
    written = write_image(store, [data], base=base)
    return Kept([link(written), *(base if written.manifest.base else [])], data)


@pytest.fixture(scope="module")
def thirty_nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Kept]]:
    """An image and its nightly versions, the newest last; the packs of each night are sealed. To be copied."""
    root = tmp_path_factory.mktemp("month") / "data"
    with closing(opened(root)) as store:
        images = [stored(store, noise(BLOCKS, 1))]
    for number in range(NIGHTS):
        with closing(opened(root)) as store:
            images.append(night(store, images[-1], 100 + number))
    return root, images


@pytest.fixture
def month(thirty_nights: tuple[Path, list[Kept]], tmp_path: Path) -> tuple[Path, list[Kept]]:
    """A copy of it."""
    shutil.copytree(thirty_nights[0], tmp_path / "data")
    return tmp_path / "data", thirty_nights[1]


def reads_per_gib(store: BlockStore, image: Kept, *, as_stored: bool = False) -> float:
    reader = store.reader(image.chain)
    with counted_reads() as reads:
        for start, stop in reader.pieces(0, reader.size):
            if as_stored:
                reader.read_stored(start, stop)
            else:
                assert reader.load(start, stop) == image.data[start:stop]
    reader.close()
    return reads.per_gib(reader.size)


@MONTH
def test_after_thirty_nights_the_newest_image_is_read_nearly_as_a_fresh_upload(
    month: tuple[Path, list[Kept]], tmp_path: Path
) -> None:
    root, images = month
    newest = images[-1]
    with closing(opened(tmp_path / "fresh")) as store:
        stored(store, newest.data)
    with closing(opened(tmp_path / "fresh")) as store:
        again = stored(store, newest.data)
        fresh = {way: reads_per_gib(store, again, as_stored=way) for way in (False, True)}
    with closing(opened(root)) as store:
        chains = [image.chain for image in images]
        before = {way: reads_per_gib(store, newest, as_stored=way) for way in (False, True)}
        planned = compacted(store, chains, replace(HOW, dry_run=True))
        done = compacted(store, chains, HOW)
        assert not done.notes
        assert done.split == planned.split == {newest.chain[0][0]}, "it is worth a whole manifest"
        assert planned.gathered == done.gathered
        after = {way: reads_per_gib(store, newest, as_stored=way) for way in (False, True)}
        print(f"reads per GiB: fresh {fresh}, before {before}, after {after}; {done}")
        assert all(before[way] > 5 * fresh[way] for way in fresh)
        assert all(after[way] <= 1.3 * fresh[way] for way in fresh)
        assert done.gathered <= len(newest.data) * 1.05
        is_sound(store)
        assert all(image.is_right(store) for image in images)
        again_done = compacted(store, chains, HOW)
        assert (again_done.gathered, again_done.moved) == (0, 0), "what is in order is left alone"


def test_two_lineages_that_share_blocks_do_not_take_them_from_each_other(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as store:
        base = stored(store, noise(1024, 1))
    with closing(opened(tmp_path)) as store:
        one = night(store, base, 2, blocks=500)
    with closing(opened(tmp_path)) as store:
        other = night(store, base, 3, blocks=500)
    chains = [base.chain, one.chain, other.chain]
    with closing(opened(tmp_path)) as store:
        done = [compacted(store, chains, HOW) for _ in range(4)]
        assert done[0].gathered > 0
        assert [each.gathered for each in done[2:]] == [0, 0]
        assert [each.moved for each in done[2:]] == [0, 0]
        is_sound(store)
        assert all(image.is_right(store) for image in (base, one, other))


@MONTH
def test_a_run_copies_no_more_for_order_than_it_may_and_later_ones_go_on(month: tuple[Path, list[Kept]]) -> None:
    root, images = month
    chains = [image.chain for image in images]
    with closing(opened(root)) as store:
        before = reads_per_gib(store, images[-1])
        gathered = [compacted(store, chains, replace(HOW, gather=4 * MIB)).gathered for _ in range(3)]
        assert all(0 < size <= 9 * MIB for size in gathered[:2]), gathered
        assert reads_per_gib(store, images[-1]) < before / 2
        assert images[-1].is_right(store)
        assert images[3].is_right(store)


def test_an_image_that_is_read_a_little_slower_than_a_fresh_one_is_left_alone(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as store:
        base = stored(store, noise(BLOCKS, 1))
    with closing(opened(tmp_path)) as store:
        later = night(store, base, 2, blocks=8)
    with closing(opened(tmp_path)) as store:
        assert compacted(store, [base.chain, later.chain], HOW).gathered == 0


def test_only_the_part_of_an_image_that_is_strewn_is_copied(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as store:
        base = stored(store, noise(BLOCKS, 1))
    image = base
    for seed in range(3):
        with closing(opened(tmp_path)) as store:
            data = bytearray(image.data)
            for number in random.Random(seed).sample(range(1024), 200):
                data[number * BLOCK : (number + 1) * BLOCK] = random.Random(seed * 5000 + number).randbytes(BLOCK)
            image = stored(store, bytes(data), image.chain)
    with closing(opened(tmp_path)) as store:
        done = compacted(store, [base.chain, image.chain], HOW)
        assert 4 * MIB <= done.gathered <= 4.3 * MIB
        assert image.is_right(store)


def test_an_image_most_of_whose_blocks_are_a_newer_ones_is_put_in_order_and_stays_an_increment(tmp_path: Path) -> None:
    """Each child of a golden image has changes of its own; a whole manifest for each would cost more than they do."""
    with closing(opened(tmp_path)) as store:
        golden = stored(store, noise(BLOCKS, 1))
    children = [golden, golden]
    for seed in range(4):
        with closing(opened(tmp_path)) as store:
            data = [bytearray(child.data) for child in children]
            for child in (0, 1):
                for number in random.Random(seed).sample(range(400), 100):
                    name = random.Random(f"{child} {seed} {number}")
                    data[child][number * BLOCK : (number + 1) * BLOCK] = name.randbytes(BLOCK)
            children = [stored(store, bytes(data[child]), children[child].chain) for child in (0, 1)]
    older, newer = children
    with closing(opened(tmp_path)) as store:
        done = compacted(store, [golden.chain, older.chain, newer.chain], HOW)
        assert done.gathered > 2 * 300 * BLOCK, "both"
        assert older.chain[0][0] not in done.split
        assert all(image.is_right(store) for image in (golden, older, newer))


@MONTH
def test_an_image_whose_manifest_is_gone_or_damaged_keeps_no_other_from_being_put_in_order(
    month: tuple[Path, list[Kept]],
) -> None:
    root, images = month
    with closing(opened(root)) as store:
        gone = ("f" * 32, bytes(32))
        done = compacted(store, [[gone], *[image.chain for image in images]], HOW)
        assert done.gathered > 0
        assert not done.notes


def test_a_block_is_met_once_and_nearly_every_new_one_is_seen_to_be_new() -> None:
    names = np.frombuffer(random.Random(1).randbytes(32 * 60_000), dtype=np.uint8).reshape(-1, 32)
    seen = Seen(60_000)
    new = [int(seen.claim(names[first : first + 1000]).sum()) for first in range(0, 60_000, 1000)]
    assert sum(new) >= 59_900
    assert not any(seen.claim(names[first : first + 1000]).any() for first in range(0, 60_000, 1000))
    twice = np.concatenate([names[:5], names[:5]])
    assert Seen(10).claim(twice).tolist() == [True] * 5 + [False] * 5
