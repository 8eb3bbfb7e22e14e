"""Flat manifests of chains: the same image without its ancestors, in small steps, or nothing at all."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Damaged, StoreFull
from blockstore.manifest_copies import copies_of
from blockstore.store import BlockStore, StoreOptions
from catalog.model.manifest import StoredManifest
from catalog.stores.blocks import StoredBlocks
from tests.kit.faulty_disk import FailingDisk
from tests.kit.images_in_store import link, read_image, write_image
from tests.kit.open_files import none_left_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from blockstore.block import Place

BLOCK = 4096
OPTIONS = StoreOptions(slab=64 * 1024, slab_budget=1 << 20, generation_seconds=0.1, index_map=1 << 30, threads=2)
BLOCKS = 2500  # more than two leaves
RNG = random.Random(11)
DATA = b"".join(bytes(BLOCK) if number % 5 == 0 else RNG.randbytes(BLOCK) for number in range(BLOCKS)) + b"odd"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    opened = BlockStore.open(tmp_path, OPTIONS)
    yield opened
    opened.close()


def a_chain(store: BlockStore, depth: int = 4) -> tuple[list[tuple[str, bytes]], bytes]:
    """The newest first, each a few blocks away from the one before, with holes, growth and an odd tail."""
    data = bytearray(DATA)
    chain = [link(write_image(store, [bytes(data)]))]
    for number in range(depth):
        data[(number + 1) * 300 * BLOCK] ^= 255
        data[(number + 3) * BLOCK : (number + 4) * BLOCK] = bytes(BLOCK)
        data += b"grown" * 1000
        chain = [link(write_image(store, [bytes(data)], base=chain)), *chain]
    return chain, bytes(data)


def files(tmp_path: Path) -> set[Path]:
    return {path for path in (tmp_path / "manifests").rglob("*") if path.is_file()}


def test_a_flat_manifest_is_the_image_without_its_ancestors(store: BlockStore, tmp_path: Path) -> None:
    chain, data = a_chain(store)
    with none_left_open():
        built = store.flattening(chain).run()
        built.hold.release()
    assert (built.base, built.depth) == (None, 0)
    for path in files(tmp_path):
        if path.stem != built.name:
            path.unlink()
    assert read_image(store, [(built.name, built.digest)]) == data
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    assert built.listed == sum(len(block) for block in blocks if any(block))


def test_a_flat_manifest_is_read_without_the_index(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, data = a_chain(store)
    built = store.flattening(chain).run()
    asked: list[int] = []
    real = store.index.get_many

    def get_many(digests: Sequence[bytes], *, hidden: bool = False) -> list[Place | None]:
        asked.append(len(digests))
        return real(digests, hidden=hidden)

    monkeypatch.setattr(store.index, "get_many", get_many)
    assert read_image(store, [(built.name, built.digest)]) == data
    assert asked == []


def test_an_empty_image_is_flattened_too(store: BlockStore) -> None:
    chain = [link(write_image(store, [DATA]))]
    chain = [link(write_image(store, [b""], base=chain)), *chain]
    built = store.flattening(chain).run()
    assert read_image(store, [(built.name, built.digest)]) == b""


def test_an_upload_over_the_flat_manifest_inherits_as_over_the_chain(store: BlockStore) -> None:
    chain, data = a_chain(store)
    built = store.flattening(chain).run()
    result = write_image(store, [data + b"x"], base=[(built.name, built.digest)])
    assert result.changed_bytes == len(data + b"x") % BLOCK
    assert read_image(store, [link(result), (built.name, built.digest)]) == data + b"x"


def test_a_chain_that_cannot_be_read_leaves_nothing(store: BlockStore, tmp_path: Path) -> None:
    chain, _ = a_chain(store)
    path = next(path for path in files(tmp_path) if path.name == f"{chain[-1][0]}.manifest")
    kept = bytearray(path.read_bytes())
    kept[1000] ^= 1
    for copy in copies_of(path):
        copy.write_bytes(kept)
    before = files(tmp_path)
    with pytest.raises(Damaged, match=path.name):
        store.flattening(chain).run()
    assert files(tmp_path) == before


def stored(chain: Sequence[tuple[str, bytes]]) -> list[StoredManifest]:
    return [StoredManifest(*each) for each in chain]


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_cancelled_at_any_step_it_leaves_nothing_and_says_how_far_it_is(
    store: BlockStore, tmp_path: Path, stop_at: int
) -> None:
    chain, data = a_chain(store)
    before = files(tmp_path)
    blocks = -(-len(data) // BLOCK)
    told: list[tuple[int, int]] = []

    async def scene() -> None:
        adapter = StoredBlocks(store)

        def report(done: int, total: int) -> None:
            told.append((done, total))
            if len(told) == stop_at:
                task.cancel()

        task = asyncio.ensure_future(adapter.flatten(stored(chain), report))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert told == [(min(blocks, 1024 * (n + 1)), blocks) for n in range(stop_at)]
        assert files(tmp_path) == before
        made = (await adapter.flatten(stored(chain), lambda *_: None)).manifest
        assert (made.base, made.size) == (None, len(data))
        adapter.forget_manifest(made.id)
        assert files(tmp_path) == before

    asyncio.run(scene())


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    disk = FailingDisk(lambda what: what == "write .manifest")
    store = BlockStore.open(tmp_path, OPTIONS, disk=disk)
    chain, _ = a_chain(store)
    before = files(tmp_path)
    disk.armed = True
    with pytest.raises(StoreFull):
        asyncio.run(StoredBlocks(store).flatten(stored(chain), lambda *_: None))
    disk.armed = False
    assert files(tmp_path) == before
    store.close()
