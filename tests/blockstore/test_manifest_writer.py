from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.disk import Disk
from blockstore.errors import StoreUnavailable
from blockstore.names import new_name
from blockstore.store import BlockStore, StoreOptions
from chunker.cutting import CutKind, Cutting
from tests.kit.images_in_store import acquire, link, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.manifest_writer import ManifestWriter

BLOCK = 4096
CUTTING = Cutting(CutKind.FIXED, BLOCK)
DATA = random.Random(8).randbytes(10 * BLOCK)
OPTIONS = StoreOptions(slab=16 * 1024, slab_budget=1 << 20, generation_seconds=0.05, index_map=1 << 26)


class WaitingDisk(Disk):
    """Waits in the sync of a file with this ending until it is let go."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.reached = threading.Event()
        self.go = threading.Event()

    def sync(self, fd: int, what: str) -> None:
        if what.endswith(self.ending):
            self.reached.set()
            assert self.go.wait(20)
        super().sync(fd, what)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    with closing(BlockStore.open(tmp_path, OPTIONS)) as opened:
        yield opened


def begin(store: BlockStore, data: bytes = DATA, *, last: bool = True) -> ManifestWriter:
    """An upload of which everything (or, without `last`, one slab) was submitted."""
    share = store.slabs.admit(store.slab_size(CUTTING))
    assert share is not None
    writer = store.writer(new_name().hex(), share, cutting=CUTTING)
    while True:
        slab = acquire(store.slabs, writer)
        filled = min(len(slab.view), slab.head + len(data))
        slab.view[slab.head : filled] = data[: filled - slab.head]
        data = data[filled - slab.head :]
        writer.submit(slab, filled, last=last and not data)
        if not (last and data):
            return writer


@pytest.mark.parametrize("ending", [".manifest", ".journal", ".zst"])
def test_giving_up_an_upload_whose_result_nobody_waits_for_any_more_comes_to_an_end(
    tmp_path: Path, ending: str
) -> None:
    # As a server does it when a client goes while its upload is being finished: the awaited future is cancelled.
    disk = WaitingDisk(ending)
    store = BlockStore.open(tmp_path, OPTIONS, disk=disk)
    writer = begin(store)
    result = writer.finish()
    assert disk.reached.wait(20)
    result.cancel()
    with ThreadPoolExecutor(1) as loop:
        given_up = loop.submit(writer.abort)
        disk.go.set()
        given_up.result(10).result(5)
    assert store.slabs.taken == 0
    again = write_image(store, [DATA])
    assert read_image(store, [link(again)]) == DATA
    store.close()


@pytest.mark.parametrize("ending", [".manifest", ".journal", ".zst"])
def test_giving_up_never_waits_for_the_disk(tmp_path: Path, ending: str) -> None:
    # It is called on a server's loop, which must not stand still while a disk does.
    disk = WaitingDisk(ending)
    store = BlockStore.open(tmp_path, OPTIONS, disk=disk)
    writer = begin(store)
    writer.finish()
    assert disk.reached.wait(20)
    returned = threading.Event()

    def give_up() -> None:
        writer.abort()
        returned.set()

    loop = threading.Thread(target=give_up)
    loop.start()
    at_once = returned.wait(2)
    disk.go.set()
    loop.join()
    store.close()
    assert at_once


def test_an_upload_goes_on_after_another_was_given_up_by_one_who_does_not_wait(tmp_path: Path) -> None:
    disk = WaitingDisk(".zst")
    store = BlockStore.open(tmp_path, OPTIONS, disk=disk)
    writer = begin(store)
    assert disk.reached.wait(20)
    writer.abort().cancel()
    disk.go.set()
    assert read_image(store, [link(write_image(store, [DATA]))]) == DATA
    store.close()


def test_an_upload_that_is_given_up_half_way_leaves_no_manifest_and_no_slab(store: BlockStore, tmp_path: Path) -> None:
    writer = begin(store, last=False)
    writer.abort().result(10)
    assert list((tmp_path / "manifests").rglob("*.manifest")) == []
    assert store.slabs.taken == 0
    with pytest.raises(StoreUnavailable, match="the upload was given up"):
        writer.acquire()


def test_giving_up_twice_or_after_the_end_comes_to_an_end(store: BlockStore) -> None:
    writer = begin(store)
    assert writer.finish().result(10).size == len(DATA)
    writer.abort().result(10)
    writer.abort().result(10)
