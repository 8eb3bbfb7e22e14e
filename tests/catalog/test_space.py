"""How much a store takes, after much was deleted and collected, against one that never had anything else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from blockstore import clock, listing
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from catalog.usecases import administration
from tests.kit.filled_store import delete, fill, looked_after, read

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = 20
BLOCK = 4096


def churned(number: int) -> bytes:
    """An image of its own blocks, in the middle of runs that it shares with its neighbours."""
    blocks = [random.Random(number // (1 + at % 5) * 1000 + at).randbytes(BLOCK) for at in range(250)]
    return b"".join(blocks) + b"tail"


def taken(root: Path) -> int:
    return sum(listed.size for kind in (listing.packs, listing.manifests, listing.places) for listed in kind(root))


def test_after_nine_tenths_were_deleted_one_collection_leaves_no_more_than_a_tenth_too_much(tmp_path: Path) -> None:
    images = [churned(number) for number in range(IMAGES)]
    ids = fill(tmp_path / "churned", images)
    kept = [4, 13]
    fresh = fill(tmp_path / "fresh", [images[number] for number in kept])
    assert len(fresh) == 2
    delete(tmp_path / "churned", *(ids[number] for number in range(IMAGES) if number not in kept))
    with looked_after(tmp_path / "churned", exclusive=True) as (store, records):
        done = administration.collect(store, records, Collecting(), Silent(), at=clock.now())
    assert not done.collected.notes
    after, wanted = taken(tmp_path / "churned"), taken(tmp_path / "fresh")
    assert after <= 1.1 * wanted, (after, wanted)
    for number in kept:
        assert read(tmp_path / "churned", ids[number]) == images[number]
