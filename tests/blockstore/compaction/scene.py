"""A store with images whose packs are partly dead."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.store import BlockStore, StoreOptions
from tests.kit.compacted import FULL, bare, forget, move_all
from tests.kit.filled_store import woven
from tests.kit.images_in_store import every_row_has_its_entry, link, manifest_blocks, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.index.contract import PackState

BLOCK = 4096
OPTIONS = StoreOptions(
    slab=64 * 1024,
    slab_budget=1 << 20,
    generation_seconds=0.05,
    pack_full=FULL,
    index_map=1 << 30,
    threads=2,
)
Chain = list[tuple[str, bytes]]


def noise(blocks: int, seed: int) -> bytes:
    """Blocks that nobody can compress."""
    return random.Random(seed).randbytes(blocks * BLOCK)


def opened(root: Path, disk: Disk | None = None) -> BlockStore:
    return BlockStore.open(root, OPTIONS, disk=disk)


@dataclass(frozen=True, slots=True)
class Kept:
    """An image that must stay as it is."""

    chain: Chain
    data: bytes

    def is_right(self, store: BlockStore) -> bool:
        return read_image(store, self.chain) == self.data


def half_dead(root: Path, blocks: int = 200) -> Kept:
    """A store whose packs are all sealed, and of whose blocks every second one is dead; with the image that is left."""
    live, dead = noise(blocks, 1), noise(blocks, 2)
    mixed = b"".join(one[at : at + BLOCK] for at in range(0, len(live), BLOCK) for one in (live, dead))
    with closing(opened(root)) as store:
        all_of_it = write_image(store, [mixed])
        kept = write_image(store, [live])
        doomed = set(manifest_blocks(store, [link(all_of_it)])) - set(manifest_blocks(store, [link(kept)]))
        forget(store, sorted(doomed))
    return Kept([link(kept)], live)


def strewn(root: Path, blocks: int = 70) -> Kept:
    """A store of sealed packs with two images; every second block of the newer one, which is given, is the older's."""
    older, other = noise(blocks, 1), noise(blocks, 2)
    for data in (older, woven(older, other)):
        with closing(opened(root)) as store:
            kept = Kept([link(write_image(store, [data]))], data)
    return kept


def packs_by_state(store: BlockStore) -> dict[PackState, int]:
    found: dict[PackState, int] = {}
    for record in store.index.packs():
        found[record.state] = found.get(record.state, 0) + 1
    return found


def is_sound(store: BlockStore) -> None:
    """Each row leads to its block, each pack in the register is there, and no other is."""
    every_row_has_its_entry(store)
    known = {store.packs.path(record.name) for record in store.index.packs()}
    root = store._data.folder("packs")
    assert set(root.glob("*/*.zst")) == known


def move_everything(store: BlockStore) -> None:
    """Move all rows that are in sealed packs, and remove those packs."""
    beside = bare(store)
    with closing(beside.writer):
        move_all(beside, full=FULL)
