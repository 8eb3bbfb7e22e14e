"""What one part's failure must not do to the others."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from blockstore.disk import Disk, disk_errors
from blockstore.errors import Damaged, Poisoned, StoreUnavailable
from blockstore.leases.flock import LockFile
from blockstore.names import new_name
from blockstore.open_pack import OpenPack
from blockstore.store import BlockStore, StoreOptions
from catalog.stores.blocks import StoredBlocks
from chunker.cutting import CutKind, Cutting
from tests.kit.images_in_store import acquire, link, read_image, write_image
from tests.kit.open_files import none_left_open
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from blockstore.manifest_writer import ManifestWriter

BLOCK = 4096
CUTTING = Cutting(CutKind.FIXED, BLOCK)
OPTIONS = StoreOptions(slab=16 * 1024, slab_budget=1 << 20, generation_seconds=0.1, index_map=1 << 30, threads=2)
DATA = random.Random(1).randbytes(20 * BLOCK)


class HoldingDisk(Disk):
    """Stands still at the first sync of a kind of file, until told how to go on."""

    def __init__(self, suffix: str, *, fails: bool = False) -> None:
        self.suffix = suffix
        self.fails = fails
        self.reached = threading.Event()
        self.go = threading.Event()

    def sync(self, fd: int, what: str) -> None:
        if what.endswith(self.suffix) and not self.reached.is_set():
            self.reached.set()
            assert self.go.wait(30)
            if self.fails:
                with disk_errors(what):
                    raise OSError(errno.EIO, "broken")
        super().sync(fd, what)


def begin(store: BlockStore) -> ManifestWriter:
    share = store.slabs.admit(store.slab_size(CUTTING))
    assert share is not None
    return store.writer(new_name().hex(), share, cutting=CUTTING)


def feed(store: BlockStore, writer: ManifestWriter, data: bytes, *, last: bool) -> None:
    slab = acquire(store.slabs, writer)
    slab.view[: len(data)] = data
    writer.submit(slab, len(data), last=last)


def lost_beside_another(tmp_path: Path) -> tuple[BlockStore, ManifestWriter, int]:
    """A store where one upload's pack failed, a second upload with a block pending in that pack, and its number."""
    disk = HoldingDisk(".zst", fails=True)
    options = StoreOptions(slab=16 * 1024, slab_budget=1 << 20, generation_seconds=60, index_map=1 << 30, threads=2)
    store = BlockStore.open(tmp_path, options, disk=disk)
    one, other = begin(store), begin(store)
    feed(store, one, DATA[:BLOCK], last=True)
    first = one.finish()
    assert disk.reached.wait(30)
    written = store._generations._open_pack._current
    assert written is not None
    before = written.size
    feed(store, other, DATA[BLOCK : 2 * BLOCK], last=False)
    while written.size == before:
        pass
    disk.go.set()
    assert isinstance(first.exception(30), Poisoned)
    return store, other, written.number


def test_an_upload_beside_one_whose_pack_failed_to_sync_fails_too(tmp_path: Path) -> None:
    store, other, failed = lost_beside_another(tmp_path)
    # The next append begins another pack; the first one's blocks are lost all the same.
    with pytest.raises(StoreUnavailable):
        feed_to_the_end(store, other)
    other.abort().result(30)
    assert [place for _, place in store.index.scan() if place.pack == failed] == []
    assert read_image(store, [link(write_image(store, [DATA]))]) == DATA
    store.close()


def test_an_upload_that_begins_after_a_pack_failed_shares_neither_its_blocks_nor_its_generation(tmp_path: Path) -> None:
    store, other, _ = lost_beside_another(tmp_path)
    # `other` is lost: its generation is still open, and its block is pending in the pack that failed.
    assert read_image(store, [link(write_image(store, [DATA[: 2 * BLOCK]]))]) == DATA[: 2 * BLOCK]
    with pytest.raises(StoreUnavailable):
        feed_to_the_end(store, other)
    other.abort().result(30)
    store.close()


def feed_to_the_end(store: BlockStore, writer: ManifestWriter) -> None:
    feed(store, writer, DATA[2 * BLOCK : 3 * BLOCK], last=True)
    writer.finish().result(30)


def test_a_lease_that_cannot_be_removed_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    real = type(tmp_path).unlink

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.parent.name == "leases":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(type(tmp_path), "unlink", unlink)
    for _ in range(2):
        assert read_image(store, [link(write_image(store, [DATA]))]) == DATA
    monkeypatch.undo()
    store.close()


def test_an_upload_cancelled_while_its_manifest_is_synced_ends_and_leaves_no_manifest(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield DATA

    async def work() -> None:
        disk = HoldingDisk(".manifest")
        store = BlockStore.open(tmp_path, OPTIONS, disk=disk)
        writing = asyncio.create_task(
            StoredBlocks(store).write(new_name().hex(), PiecesSource(source()), expected=None, cutting=CUTTING)
        )
        assert await asyncio.to_thread(disk.reached.wait, 30)
        for _ in range(3):
            writing.cancel()
            await asyncio.sleep(0.02)
        assert not writing.done(), "it waits until nothing of it runs"
        disk.go.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(writing), 30)
        assert store.slabs.taken == 0
        store.close()
        assert list(tmp_path.rglob("*.manifest")) == []

    asyncio.run(work())


def test_a_store_that_closes_during_an_upload_tells_it(tmp_path: Path) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    data, holes = begin(store), begin(store)
    feed(store, data, DATA[:BLOCK], last=True)
    feed(store, holes, bytes(BLOCK), last=True)
    store.close()
    late = begin(store)
    slab = acquire(store.slabs, late)
    with pytest.raises(StoreUnavailable, match="being closed"):
        late.submit(slab, BLOCK, last=True)
    late.abort().result(30)
    for writer in (data, holes):
        assert isinstance(writer.finish().exception(30), StoreUnavailable)
        writer.abort().result(30)
    with pytest.raises(StoreUnavailable):
        store.crew.call(lambda: None)


def test_a_damaged_block_is_stored_anew_with_the_next_upload_and_heals_the_first_image(tmp_path: Path) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    image = link(write_image(store, [DATA]))
    name, place = next(iter(store.index.scan()))
    record = store.index.pack(place.pack)
    assert record is not None
    with store.packs.path(record.name).open("r+b") as pack:
        pack.seek(place.end - 100)
        pack.write(b"rot")
    with pytest.raises(Damaged, match=str(store.packs.path(record.name))):
        read_image(store, [image])
    store._index_writer.run(lambda: None)
    assert store.index.bad_among([name]) == {name}
    child = write_image(store, [DATA + b"x"], base=[image])
    assert child.new_blocks == 2, "an increment does not inherit it either"
    assert read_image(store, [link(child), image]) == DATA + b"x"
    assert read_image(store, [image]) == DATA
    store.close()


def test_an_increment_gives_back_every_file_it_opened(tmp_path: Path) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    chain = [link(write_image(store, [DATA]))]
    with none_left_open():
        for number in range(10):
            child = write_image(store, [DATA[:-1] + bytes([number])], base=chain)
            child.manifest.hold.release()
            chain = [link(child), *chain]
    store.close()


def test_equal_blocks_of_one_upload_are_counted_once_as_new(tmp_path: Path) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    result = write_image(store, [DATA * 8])
    assert (result.new_blocks, result.held_blocks) == (20, 140)
    store.close()


def test_a_slow_reader_does_not_keep_others_from_uploading(tmp_path: Path) -> None:
    async def work() -> None:
        store = BlockStore.open(tmp_path, OPTIONS)
        blocks = StoredBlocks(store)
        image = link(await asyncio.to_thread(write_image, store, [DATA]))
        reader = await asyncio.to_thread(store.reader, [image])
        reader.close()
        while store.pieces.admit(1 << 16, sure=1, most=1):
            pass

        async def source() -> AsyncIterator[bytes]:
            yield DATA

        written = await blocks.write(new_name().hex(), PiecesSource(source()), expected=len(DATA), cutting=CUTTING)
        assert written.size == len(DATA)
        store.close()

    asyncio.run(work())


def test_an_upload_is_told_of_its_generations_end_even_if_the_lease_cannot_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    real = LockFile.close

    def close(lease: LockFile) -> None:
        real(lease)
        if lease._path.parent.name == "leases":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(LockFile, "close", close)
    assert read_image(store, [link(write_image(store, [DATA]))]) == DATA
    monkeypatch.undo()
    store.close()


def test_a_store_closes_whatever_goes_wrong_with_its_last_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    image = link(write_image(store, [DATA]))

    def sealed(_: object, pack: object) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(OpenPack, "sealed", sealed)
    closing = threading.Thread(target=store.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    monkeypatch.undo()
    store = BlockStore.open(tmp_path, OPTIONS)
    assert read_image(store, [image]) == DATA
    store.close()
