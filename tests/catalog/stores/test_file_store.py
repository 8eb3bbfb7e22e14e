"""Copies as files: the contract, and what only files have: links, holes, volumes that come and go, disks that hang."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import CopyLost, StoreDown, StoreFull
from catalog.store_ports import StoreInfo
from catalog.stores import file_place, filling
from catalog.stores.file import FileStore
from catalog.stores.file_place import FilePlace
from catalog.stores.open_file import OpenFile
from tests.contracts.stores import IMAGE, MIB, OTHER, StoreContract, is_there, noise, play, put, with_holes
from tests.kit.copies import BytesCopy, all_of, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from catalog.store_ports import Store


def store_in(
    directory: Path, *, seconds: float = 10.0, mount_point: Path | None = None, mode: int = 0o600
) -> FileStore:
    return FileStore(StoreInfo("fast", "file"), FilePlace(directory, mount_point, mode), seconds=seconds)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


class HangingPlace(FilePlace):
    """A directory on a disk that does not answer until it is let go."""

    released = threading.Event()

    @contextmanager
    def root(self, *, make: bool = False) -> Iterator[int]:
        self.released.wait()
        with super().root(make=make) as root:
            yield root


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return store_in(tmp_path)


@pytest.fixture
def down(tmp_path: Path) -> FileStore:
    return store_in(tmp_path / "none")


class TestFileStore(StoreContract):
    def missing(self, store: Store) -> str:
        return store.place(OTHER)


class TestHangingDisk:
    @pytest.fixture
    def hanging(self, tmp_path: Path) -> Iterator[FileStore]:
        HangingPlace.released.clear()
        yield FileStore(StoreInfo("fast", "file"), HangingPlace(tmp_path), seconds=0.05)
        HangingPlace.released.set()

    def test_it_is_down_in_time(self, hanging: FileStore) -> None:
        StoreContract().test_a_store_that_is_down_says_so_in_time_and_without_its_secrets(hanging, ())

    def test_few_threads_hang_and_then_nothing_is_begun(self, hanging: FileStore) -> None:
        async def scenario() -> None:
            for _ in range(3):
                outcomes = await asyncio.gather(*(hanging.check() for _ in range(20)), return_exceptions=True)
                assert all(isinstance(outcome, StoreDown) for outcome in outcomes)
            hung = [thread for thread in threading.enumerate() if thread.name.startswith("store-fast")]
            assert len(hung) == 4
            HangingPlace.released.set()
            async with asyncio.timeout(5):
                while True:
                    try:
                        await hanging.check()
                    except StoreDown:
                        await asyncio.sleep(0.01)
                    else:
                        return

        play(hanging, scenario())

    def test_what_opens_too_late_is_closed(self, hanging: FileStore, tmp_path: Path) -> None:
        data = b"late"
        url = play(store_in(tmp_path), put(store_in(tmp_path), data))
        before = descriptors()

        async def scenario() -> None:
            with pytest.raises(StoreDown, match="does not answer within"):
                await hanging.open(url, None)
            HangingPlace.released.set()
            await hanging.check()

        play(hanging, scenario())
        assert descriptors() <= before


def test_a_copy_is_one_plain_file_below_its_images_first_letters(store: FileStore, tmp_path: Path) -> None:
    url = play(store, put(store, b"abc"))
    [file] = files_in(tmp_path)
    assert file.parent == tmp_path / IMAGE[:2]
    assert url == f"file://{file}"
    assert store.path(url) == str(file)
    assert store.path("file:///etc/passwd") is None
    assert file.read_bytes() == b"abc"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_others_may_read_copies_where_that_is_set(tmp_path: Path) -> None:
    group = store_in(tmp_path, mode=0o640)
    play(group, put(group, b"abc"))
    [file] = files_in(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750


def test_a_directory_may_be_called_anything(tmp_path: Path) -> None:
    odd = tmp_path / "a b%20ä#?"
    odd.mkdir()
    store = store_in(odd)
    url = play(store, put(store, b"abc"))
    assert url.isascii()
    assert " " not in url
    assert store.owns(url)
    assert Path(store.path(url) or "").read_bytes() == b"abc"


def test_holes_take_no_room(store: FileStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        await put(store, with_holes(16 * MIB))

    play(store, scenario())
    [file] = files_in(tmp_path)
    assert file.stat().st_size == 16 * MIB
    assert file.stat().st_blocks * 512 <= 5 * (64 << 10)


def test_a_copy_of_a_file_keeps_its_holes(store: FileStore, tmp_path: Path) -> None:
    data = with_holes(16 * MIB)

    async def scenario() -> None:
        reader = await store.open(await put(store, data), None)
        url = store.place(OTHER)
        await store.write(url, reader)
        reader.close()
        assert await kept(store, url) == data

    play(store, scenario())
    assert max(file.stat().st_blocks * 512 for file in files_in(tmp_path)) <= 5 * (64 << 10)


def test_a_file_that_the_kernel_cannot_copy_is_copied_in_pieces(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_holes(3 * MIB)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "it failed")

    async def scenario() -> None:
        reader = await store.open(await put(store, data), None)
        monkeypatch.setattr(OpenFile, "copy", refuse)
        url = store.place(OTHER)
        await store.write(url, reader)
        reader.close()
        assert await kept(store, url) == data

    play(store, scenario())


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2f..", "0c/../0c", "0c/" + "x" * 300, "0c/a.b", "ff/"])
def test_no_other_names_are_urls_of_it(store: FileStore, tmp_path: Path, name: str) -> None:
    assert not store.owns(f"file://{tmp_path}/{name}")
    own = store.place(IMAGE)
    assert not store.owns(own.replace("/0c/", "/f3/"))
    assert not store.owns(own + ".0123456789abcdef.part")
    assert not store.owns(own.replace("file://", "file://localhost"))


def test_no_link_leads_out_of_the_directory(store: FileStore, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    secret = outside / "secret"
    secret.write_bytes(b"secret")

    async def scenario() -> None:
        url = store.place(IMAGE)
        path = Path(store.path(url) or "")
        path.parent.mkdir()
        path.symlink_to(secret)
        assert not await is_there(store, url)
        await store.write(url, BytesCopy(b"mine"))
        assert secret.read_bytes() == b"secret"
        assert await kept(store, url) == b"mine"
        other = store.place(OTHER)
        folder = Path(store.path(other) or "").parent
        folder.symlink_to(outside, target_is_directory=True)
        (outside / Path(store.path(other) or "").name).write_bytes(b"secret")
        assert not await is_there(store, other)
        with pytest.raises(StoreDown):
            await store.write(other, BytesCopy(b"mine"))
        await store.remove(other)

    play(store, scenario())
    assert len(files_in(outside)) == 2


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_plain_file_is_no_copy(store: FileStore, make: Callable[[str], None]) -> None:
    async def scenario() -> None:
        url = store.place(IMAGE)
        path = store.path(url) or ""
        Path(path).parent.mkdir()
        make(path)
        assert not await is_there(store, url)

    play(store, scenario())


def test_a_file_that_becomes_shorter_while_it_is_read_is_lost(store: FileStore) -> None:
    async def scenario() -> None:
        url = await put(store, noise(3 * MIB))
        reader = await store.open(url, 3 * MIB)
        os.truncate(store.path(url) or "", MIB + 5)
        taken = bytearray()
        with pytest.raises(CopyLost):
            async for piece in reader.read(0, 3 * MIB):
                taken += piece
        assert taken == noise(3 * MIB)[: MIB + 5]
        reader.close()

    play(store, scenario())


def test_what_a_killed_writer_left_goes_with_the_next_write_or_removal(store: FileStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        for act in ("write", "remove"):
            url = store.place(IMAGE)
            left = Path(f"{store.path(url)}.0123456789abcdef.part")
            left.parent.mkdir(exist_ok=True)
            left.write_bytes(b"left")
            if act == "write":
                await store.write(url, BytesCopy(b"abc"))
                assert [file.read_bytes() for file in files_in(tmp_path)] == [b"abc"]
            await store.remove(url)
            assert files_in(tmp_path) == []

    play(store, scenario())


def test_nothing_is_left_of_a_write_that_failed(store: FileStore, tmp_path: Path) -> None:
    async def break_off(position: int) -> None:
        if position:
            raise CopyLost("in the middle")

    async def scenario() -> None:
        with pytest.raises(CopyLost):
            await store.write(store.place(IMAGE), BytesCopy(noise(3 * MIB), before=break_off))

    play(store, scenario())
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreDown), (errno.ESTALE, StoreDown)],
)
@pytest.mark.parametrize("step", ["put", "sync", "truncate"])
def test_a_disk_that_is_full_or_fails_is_told_so_and_nothing_is_left(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    async def scenario() -> None:
        monkeypatch.setattr(OpenFile, step, fail)
        url = store.place(IMAGE)
        with pytest.raises(error, match="Store fast"):
            await store.write(url, BytesCopy(noise(MIB)))
        assert not await is_there(store, url)

    play(store, scenario())
    assert files_in(tmp_path) == []


def test_a_disk_that_fails_while_it_is_read_is_down(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def scenario() -> None:
        reader = await store.open(await put(store, noise(MIB)), None)
        monkeypatch.setattr(OpenFile, "read_into", fail)
        with pytest.raises(StoreDown, match="Store fast is down: Input/output error"):
            await all_of(reader)
        reader.close()

    play(store, scenario())


def test_a_long_write_is_made_durable_now_and_then(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(filling, "SYNCED", 8 * MIB)
    monkeypatch.setattr(OpenFile, "sync", lambda _: syncs.append(1))
    play(store, put(store, noise(40 * MIB)))
    assert len(syncs) == 6


class TestMountPoints:
    """Mounts as the kernel tells of them; which ones there are is this test's to say, but for the real one."""

    @pytest.fixture
    def mounted(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        at: set[str] = set()
        real = file_place._mount_of
        monkeypatch.setattr(
            file_place, "_mounts_at", lambda path: {real(os.open(path, os.O_RDONLY))} if path in at else set()
        )
        monkeypatch.setattr(file_place, "_is_another_volume", lambda _descriptor, _path: True)
        return at

    def test_a_volume_that_is_not_mounted_is_down_and_not_written_beside(
        self, tmp_path: Path, mounted: set[str]
    ) -> None:
        store = store_in(tmp_path / "images", mount_point=tmp_path)

        async def scenario() -> None:
            url = store.place(IMAGE)
            acts: list[Callable[[], object]] = [
                store.check,
                lambda: store.open(url, None),
                lambda: store.write(url, BytesCopy(b"abc")),
                lambda: store.remove(url),
            ]
            for act in acts:
                with pytest.raises(StoreDown, match=f"Store fast is down: no volume is mounted at {tmp_path}"):
                    await act()  # type: ignore[misc]  # each is a coroutine
            assert list(tmp_path.iterdir()) == []
            mounted.add(str(tmp_path))
            with pytest.raises(CopyLost):
                await store.open(url, None)
            await store.remove(url)
            await store.write(url, BytesCopy(b"abc"))
            assert await kept(store, url) == b"abc"
            mounted.clear()
            with pytest.raises(StoreDown):
                await store.open(url, None)

        play(store, scenario())

    def test_a_volume_that_comes_back_empty_has_lost_its_copies(self, tmp_path: Path, mounted: set[str]) -> None:
        mounted.add(str(tmp_path))
        store = store_in(tmp_path / "images", mount_point=tmp_path)

        async def scenario() -> None:
            url = await put(store, b"abc")
            (tmp_path / "images").rename(tmp_path / "wiped")
            with pytest.raises(CopyLost):
                await store.open(url, 3)
            await store.check()
            await store.write(url, BytesCopy(b"abc"))
            assert await kept(store, url, 3) == b"abc"

        play(store, scenario())

    def test_real_mounts_are_told_apart(self, tmp_path: Path) -> None:
        for path, there in (("/proc", True), (str(tmp_path), False)):
            descriptor = os.open(path, os.O_RDONLY)
            assert (file_place._mount_of(descriptor) in file_place._mounts_at(path)) == there
            os.close(descriptor)

    def test_a_mount_point_with_blanks_is_found(self) -> None:
        assert file_place._unescaped(rb"/mnt/a\040b\134c") == rb"/mnt/a b\c"
