"""A `file` store on a volume that really comes and goes: a tmpfs that is mounted, taken away, filled and wiped."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from blockstore.file_clone import clone
from catalog.model.errors import CopyLost, StoreDown, StoreFull
from catalog.store_ports import StoreInfo
from catalog.stores.file import FileStore
from catalog.stores.file_place import FilePlace
from catalog.stores.set import StoreSet
from tests.contracts.stores import IMAGE, MIB, noise, play, put
from tests.kit.copies import BytesCopy, all_of, kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.serial, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a tmpfs")]


class Volume:
    """A volume of 16 MiB; what was on it is gone when it is taken away."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.mounts = 0

    def mount(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", self.at], check=True)
        self.mounts += 1

    def bind(self) -> None:
        """Mount the directory over itself, as a manager of services may do it."""
        subprocess.run(["mount", "--bind", self.at, self.at], check=True)
        self.mounts += 1

    def take_away(self) -> None:
        subprocess.run(["umount", "-l", self.at], check=True)
        self.mounts -= 1


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    at = tmp_path / "a volume"
    at.mkdir()
    found = Volume(at)
    found.mount()
    yield found
    while found.mounts:
        found.take_away()


@pytest.fixture
def store(volume: Volume) -> FileStore:
    place = FilePlace(volume.at / "deep" / "images", volume.at)
    return FileStore(StoreInfo("fast", "file", weight=100, volatile=True), place)


def test_a_volume_that_is_away_is_down_and_nothing_is_written_beside_it(store: FileStore, volume: Volume) -> None:
    async def scenario() -> None:
        data = noise(3 * MIB)
        url = await put(store, data)
        assert await kept(store, url, len(data)) == data
        volume.take_away()
        with pytest.raises(StoreDown, match="no volume is mounted at"):
            await store.open(url, None)
        with pytest.raises(StoreDown):
            await put(store, data)
        with pytest.raises(StoreDown):
            await store.check()
        assert list(volume.at.iterdir()) == []
        volume.mount()
        await store.check()
        with pytest.raises(CopyLost):
            await store.open(url, len(data))
        await store.write(url, BytesCopy(data))
        assert await kept(store, url, len(data)) == data

    play(store, scenario())


def test_a_directory_that_is_mounted_over_itself_is_no_volume(store: FileStore, volume: Volume) -> None:
    async def scenario() -> None:
        volume.take_away()
        volume.bind()
        with pytest.raises(StoreDown, match="no volume is mounted at"):
            await put(store, b"abc")
        volume.mount()
        assert await kept(store, await put(store, b"abc")) == b"abc"
        volume.take_away()
        assert list(volume.at.iterdir()) == []

    play(store, scenario())


def test_a_reader_goes_on_with_what_it_has_open_when_the_volume_is_taken_away(store: FileStore, volume: Volume) -> None:
    async def scenario() -> None:
        data = noise(3 * MIB)
        reader = await store.open(await put(store, data), None)
        volume.take_away()
        assert await all_of(reader) == data
        reader.close()

    play(store, scenario())


def test_a_volume_that_goes_in_the_middle_of_a_write_leaves_no_copy(store: FileStore, volume: Volume) -> None:
    async def scenario() -> None:
        async def go(position: int) -> None:
            if position == 2 * MIB:
                volume.take_away()
                volume.mount()

        url = store.place(IMAGE)
        with pytest.raises(StoreDown):
            await store.write(url, BytesCopy(noise(5 * MIB), before=go))
        with pytest.raises(CopyLost):
            await store.open(url, None)

    play(store, scenario())


def test_a_full_volume_is_told_so_and_keeps_nothing_of_the_copy(store: FileStore) -> None:
    async def scenario() -> None:
        held = await put(store, noise(3 * MIB))
        with pytest.raises(StoreFull):
            await put(store, noise(20 * MIB))
        url = await put(store, noise(12 * MIB))
        assert await kept(store, url) == noise(12 * MIB)
        assert await kept(store, held) == noise(3 * MIB)

    play(store, scenario())


def test_the_order_is_back_as_soon_as_the_volume_is(store: FileStore, volume: Volume) -> None:
    stores = StoreSet([store])

    async def scenario() -> None:
        await put(store, b"abc")
        watching = asyncio.create_task(stores.watch())
        volume.take_away()
        await stores.check("fast")
        assert stores.is_aside("fast")
        volume.mount()
        async with asyncio.timeout(10):
            while stores.is_aside("fast"):  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    play(store, scenario())


@pytest.mark.skipif(shutil.which("mkfs.btrfs") is None, reason="mkfs.btrfs is not installed")
def test_a_copy_of_a_copy_and_a_quick_clone_share_its_blocks_where_the_file_system_can(tmp_path: Path) -> None:
    disk, at = tmp_path / "disk", tmp_path / "mnt"
    with disk.open("wb") as file:
        file.truncate(256 * MIB)
    at.mkdir()
    subprocess.run(["mkfs.btrfs", "--quiet", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, at], check=True)
    try:
        (at / "images").mkdir()
        store = FileStore(StoreInfo("fast", "file"), FilePlace(at / "images", at))
        data = noise(64 * MIB)

        async def scenario() -> None:
            source = await store.open(await put(store, data), None)
            before = os.statvfs(at).f_bfree
            url = store.place(IMAGE)
            await store.write(url, source)
            source.close()
            assert await kept(store, url) == data
            own, copy = os.open(store.path(url) or "", os.O_RDONLY), os.open(at / "vm", os.O_RDWR | os.O_CREAT)
            assert clone(own, copy)
            os.fsync(copy)
            os.close(own)
            os.close(copy)
            assert (at / "vm").read_bytes() == data
            assert (before - os.statvfs(at).f_bfree) * os.statvfs(at).f_frsize < 4 * MIB

        play(store, scenario())
    finally:
        subprocess.run(["umount", "-l", at], check=True)
