"""Compaction comes to an end: a second run over a store that nobody has changed does nothing."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.block import Place
from tests.blockstore.compaction.scene import half_dead, is_sound, noise, opened
from tests.kit.compacted import compacted, forget
from tests.kit.images_in_store import link, manifest_blocks, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.index.contract import PackState
    from blockstore.store import BlockStore


def packs_of(store: BlockStore) -> list[tuple[int, PackState]]:
    return [(record.number, record.state) for record in store.index.packs()]


@pytest.mark.parametrize("blocks", [1, 20])
def test_blocks_that_a_pack_has_twice_are_copied_once(tmp_path: Path, blocks: int) -> None:
    """As when an image is uploaded, deleted, collected and uploaded again while its pack is open."""
    with closing(opened(tmp_path)) as store:
        for _ in range(2):
            forget(store, manifest_blocks(store, [link(write_image(store, [noise(blocks, 1)]))]))
        kept = write_image(store, [noise(blocks, 1)])
    with closing(opened(tmp_path)) as store:
        assert compacted(store).moved == blocks
        before = packs_of(store)
        again = compacted(store)
        assert (again.dead, again.moved, again.packs_rewritten, again.packs_dropped) == (0, 0, 0, 0)
        assert packs_of(store) == before
        assert len(before) == 1
        is_sound(store)
        assert read_image(store, [link(kept)]) == noise(blocks, 1)


def test_a_second_run_over_what_the_first_has_rewritten_does_nothing(tmp_path: Path) -> None:
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        assert compacted(store, [image.chain]).moved == 200
        before = packs_of(store)
        again = compacted(store, [image.chain])
        assert (again.dead, again.moved, again.packs_rewritten, again.gathered) == (0, 0, 0, 0)
        assert packs_of(store) == before


def test_a_row_that_names_another_place_of_its_pack_than_its_entry_is_found_bad(tmp_path: Path) -> None:
    """The index is damaged there: the block leaves dedup, and the pack stays until its bytes were stored anew."""
    image = half_dead(tmp_path)
    with closing(opened(tmp_path)) as store:
        name = manifest_blocks(store, image.chain)[3]
        (place,) = store.index.get_many([name])
        assert place is not None
        wrong = Place(place.pack, place.offset + 7, place.frame_length, place.raw_length)
        store.index.move_many({name: (place, wrong)})
        done = compacted(store)
        assert done.moved == 199
        assert ["stays" in note for note in done.notes] == [True]
        assert store.index.bad_among([name])
        write_image(store, [image.data])
        assert not compacted(store).notes
        assert image.is_right(store)
