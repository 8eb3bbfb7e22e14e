"""Claims: two processes that store the same blocks, told of each other."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.claims import FRESH, GO_AHEAD, Claims
from blockstore.digest import digest
from blockstore.names import new_name
from blockstore.store import BlockStore, StoreOptions
from chunker.cutting import CutKind, Cutting
from tests.kit.images_in_store import acquire

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from blockstore.manifest_writer import ManifestWriter

NAMES = [bytes([seed]) * 32 for seed in range(100)]
CUTTING = Cutting(CutKind.FIXED, 4096)
OPTIONS = StoreOptions(slab=64 * 1024, slab_budget=1 << 20, generation_seconds=60, index_map=1 << 30, threads=2)


def test_the_first_one_has_a_block_and_the_others_are_told_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    one, other = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    assert one.claim(NAMES) == 0
    assert one.claim(NAMES) == 0, "one's own are no others'"
    assert other.claim([*NAMES, random.Random(-1).randbytes(32)]) == 100
    assert one.claim(NAMES) == 0, "who was told did not take them over"
    now += FRESH
    assert other.claim(NAMES) == 0
    assert one.claim(NAMES) == 100
    one.close()
    other.close()


def upload(store: BlockStore, data: bytes) -> ManifestWriter:
    share = store.slabs.admit(store.slab_size(CUTTING))
    assert share is not None
    writer = store.writer(new_name().hex(), share, cutting=CUTTING)
    slab = acquire(store.slabs, writer)
    slab.view[: len(data)] = data
    writer.submit(slab, len(data), last=True)
    writer.finish().result(30)
    return writer


def test_an_upload_that_meets_anothers_new_blocks_lets_it_go_ahead(tmp_path: Path) -> None:
    data = random.Random(7).randbytes(64 * 1024)
    store = BlockStore.open(tmp_path, OPTIONS)
    assert upload(store, data[: 32 * 1024]).pause() == 0
    elsewhere = Claims(tmp_path / "index" / "claims")
    elsewhere.claim(digest(data[at : at + 4096]) for at in range(32 * 1024, len(data), 4096))
    waiting = upload(store, data[32 * 1024 :])
    assert 0 < waiting.pause() <= GO_AHEAD
    elsewhere.close()
    store.close()
