"""Rooms for jobs: whose they are, what goes when, and that a full disk ends the work before it is full."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from catalog.jobs import rooms as module
from catalog.jobs.rooms import Rooms
from catalog.model.errors import ConversionRefused, ConversionUnavailable, StoreFull
from catalog.stores.open_file import OpenFile
from tests.kit.memory_blocks import MemoryReader

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
STORE = "5" * 32


def rooms_of(
    root: Path, process: str = "one", *, alive: tuple[str, ...] = (), has_space: Callable[[Path], bool] = lambda _: True
) -> Rooms:
    return Rooms(root, store=STORE, process=process, is_alive=alive.__contains__, has_space=has_space)


def test_a_room_is_empty_private_and_gone_afterwards(tmp_path: Path) -> None:
    async def scene() -> None:
        rooms = rooms_of(tmp_path / "work")
        async with rooms.room("task") as room:
            assert room.path == tmp_path / "work" / STORE / "one" / "task"
            assert room.path.stat().st_mode & 0o777 == 0o700
            (room.path / "deeper").mkdir()
            (room.path / "deeper" / "file").write_bytes(b"x")
        assert not room.path.exists()
        with suppress(ValueError):
            async with rooms.room("task") as room:
                raise ValueError
        assert not room.path.exists()

    asyncio.run(scene())


def test_what_is_written_out_has_its_holes_and_comes_back_as_it_was(tmp_path: Path) -> None:
    data = os.urandom(MIB) + bytes(5 * MIB) + os.urandom(MIB + 7)

    async def scene() -> None:
        async with rooms_of(tmp_path).room("task") as room:
            await room.fill("came", MemoryReader(data))
            assert (room.path / "came").stat().st_blocks * 512 < 3 * MIB
            taken, piece = b"", memoryview(bytearray(MIB))
            async with room.opened("came") as source:
                assert source.size == len(data)
                while got := await source.read_into(piece):
                    taken += piece[:got]
            assert taken == data
            await room.remove("came")
            await room.remove("came")

    asyncio.run(scene())


def test_a_read_that_is_given_up_writes_nothing_more_into_the_callers_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_file: OpenFile, room: memoryview, _at: int) -> int:
        begun.set()
        go_on.wait(10)
        room[:] = b"x" * len(room)
        return len(room)

    async def scene() -> None:
        memory = bytearray(8)
        async with rooms_of(tmp_path).room("try") as room:
            await room.fill("came", MemoryReader(b"12345678"))
            async with room.opened("came") as source:
                monkeypatch.setattr(OpenFile, "read_into", slow)
                reading = asyncio.create_task(source.read_into(memoryview(memory)))
                await asyncio.to_thread(begun.wait, 10)
                reading.cancel()
                await asyncio.sleep(0.05)
                assert not reading.done(), "its thread still has the memory"
                go_on.set()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                # It is another's by now.
                memory[:] = b"another's"[:8]
                await asyncio.sleep(0.05)
                assert memory == b"another's"[:8]

    asyncio.run(scene())


@pytest.mark.parametrize("verb", ["fill", "opened"])
def test_a_file_that_is_being_opened_for_nobody_is_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    plainly = os.open

    def slow(*words: Any, **named: Any) -> int:
        if str(words[0]).endswith("/slow"):
            begun.set()
            go_on.wait(10)
        return plainly(*words, **named)

    async def scene() -> None:
        async with rooms_of(tmp_path).room("try") as room:
            if verb == "opened":
                (room.path / "slow").write_bytes(b"x")
            monkeypatch.setattr(os, "open", slow)
            opening = asyncio.create_task(
                room.fill("slow", MemoryReader(b"x")) if verb == "fill" else room.opened("slow").__aenter__()
            )
            await asyncio.to_thread(begun.wait, 10)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            go_on.set()
            await asyncio.sleep(0.2)
            assert room.path / "slow" not in [*map(_where, Path("/proc/self/fd").iterdir())]

    asyncio.run(scene())


def _where(link: Path) -> Path | None:
    try:
        return link.readlink()
    except FileNotFoundError:
        return None


def test_nothing_is_made_or_removed_where_a_link_leads(tmp_path: Path) -> None:
    elsewhere = tmp_path / "home"
    (elsewhere / "ann" / "letters").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / STORE).symlink_to(elsewhere)

    async def scene() -> None:
        rooms = rooms_of(tmp_path / "work")
        assert await rooms.sweep() == 0
        with pytest.raises(ConversionUnavailable, match="work_dir"):
            async with rooms.room("try"):
                pass
        assert await rooms.sweep() == 0

    asyncio.run(scene())
    assert [*elsewhere.rglob("*")] == [elsewhere / "ann", elsewhere / "ann" / "letters"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_nothing_is_made_or_removed_in_a_directory_of_somebody_else(tmp_path: Path) -> None:
    theirs = tmp_path / STORE
    (theirs / "dead" / "room").mkdir(parents=True)
    os.chown(theirs, 65534, 65534)

    async def scene() -> None:
        rooms = rooms_of(tmp_path)
        assert await rooms.sweep() == 0
        with pytest.raises(ConversionUnavailable):
            async with rooms.room("try"):
                pass

    asyncio.run(scene())
    assert (theirs / "dead" / "room").exists()


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "directory", "nothing"])
def test_what_is_no_file_of_the_programs_own_is_not_read(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret")

    async def scene() -> None:
        async with rooms_of(tmp_path / "work").room("task") as room:
            made = room.path / "made"
            match kind:
                case "symlink":
                    made.symlink_to(secret)
                case "hard link":
                    made.hardlink_to(secret)
                case "fifo":
                    os.mkfifo(made)
                case "directory":
                    made.mkdir()
            with pytest.raises(ConversionRefused):
                async with room.opened("made"):
                    pass

    asyncio.run(scene())
    assert secret.read_bytes() == b"a secret"


def test_rooms_of_the_dead_go_and_others_stay(tmp_path: Path) -> None:
    for name in ("dead/a", "dead/b", "alive/c", "one/left", "one/open"):
        (tmp_path / STORE / name).mkdir(parents=True)
        (tmp_path / STORE / name / "file").write_bytes(b"x")
    (tmp_path / "another store" / "dead" / "d").mkdir(parents=True)

    async def scene() -> None:
        rooms = rooms_of(tmp_path, alive=("alive", "one"))
        async with rooms.room("open"):
            assert await rooms.sweep() == 3
            found = sorted(str(path.relative_to(tmp_path / STORE)) for path in (tmp_path / STORE).rglob("*"))
            assert found == ["alive", "alive/c", "alive/c/file", "one", "one/open"]
        assert await rooms.sweep() == 0

    asyncio.run(scene())
    assert (tmp_path / "another store" / "dead" / "d").exists()
    asyncio.run(rooms_of(tmp_path / "not there").sweep())


def test_a_full_disk_gives_no_room_and_ends_the_work_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.01)
    space = True

    async def scene() -> None:
        nonlocal space
        rooms = rooms_of(tmp_path, has_space=lambda _: space)
        with pytest.raises(StoreFull, match="try again later"):
            async with rooms.room("task") as room:
                space = False
                await asyncio.Event().wait()
        assert not room.path.exists()
        with pytest.raises(StoreFull):
            async with rooms.room("task"):
                pass
        space = True
        with pytest.raises(TimeoutError):
            async with rooms.room("task"):
                raise TimeoutError

    asyncio.run(scene())
