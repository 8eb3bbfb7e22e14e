"""A copy in a `file` store, in and out, beside what the system's own `cp --sparse` and `cat` take for the same file."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.harness import Benchmark, Ratio, Report, Workload, interleave, under_pytest
from catalog.store_ports import StoreInfo
from catalog.stores.file import FileStore
from catalog.stores.file_place import FilePlace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.conftest import Bench

pytestmark = pytest.mark.timeout(3600)
IMAGE = "0c1f2b8e-93a4-4a2f-8a51-d8f7a3b5c601"
PIECE = 1 << 20


class Stream:
    """A file's bytes in pieces, as an image's come out of our blocks: the kernel cannot copy them by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    async def read(self, start: int, stop: int) -> AsyncIterator[memoryview]:
        room = memoryview(bytearray(PIECE))
        with self._path.open("rb", buffering=0) as file:
            file.seek(start)
            while start < stop:
                got = file.readinto(room[: min(PIECE, stop - start)])
                assert got
                start += got
                yield room[:got]

    def close(self) -> None:
        """The file is closed with its last piece."""


def store_in(room: Path) -> FileStore:
    return FileStore(StoreInfo("fast", "file"), FilePlace(room))


async def written(room: Path, image: Path, held: str | None) -> str:
    """A copy of the image, from pieces or from the held copy; its URL."""
    store = store_in(room)
    url = store.place(IMAGE)
    source = Stream(image) if held is None else await store.open(held, None)
    await store.write(url, source)
    source.close()
    await store.close()
    return url


async def read(room: Path, url: str) -> None:
    store = store_in(room)
    reader = await store.open(url, None)
    async for _ in reader.read(0, reader.size):
        pass
    reader.close()
    await store.close()


def measured(image: Path, room: Path, rounds: int) -> Report:
    room.mkdir()
    held = asyncio.run(written(room, image, None))
    held_path = Path(store_in(room).path(held) or "")
    size = image.stat().st_size
    target = room / "cp.raw"

    def copy_by_system() -> None:
        subprocess.run(["cp", "--sparse=always", "--reflink=never", image, target], check=True)
        subprocess.run(["sync", target], check=True)

    def clean() -> None:
        target.unlink(missing_ok=True)
        for path in room.glob("??/*"):
            if path != held_path:
                path.unlink()

    def write(source: str | None) -> str:
        return asyncio.run(written(room, image, source))

    report = interleave(
        [
            Workload("cp --sparse, sync", size, copy_by_system, clean=clean),
            Workload("file store, from pieces", size, lambda: write(None), clean=clean),
            Workload("file store, from a file", size, lambda: write(held), clean=clean),
            Workload("cat", size, lambda: subprocess.run(["cat", held_path], check=True, stdout=subprocess.DEVNULL)),
            Workload("file store, read", size, lambda: asyncio.run(read(room, held))),
        ],
        rounds,
    )
    for ours, theirs in (
        ("file store, from pieces", "cp --sparse, sync"),
        ("file store, from a file", "cp --sparse, sync"),
        ("file store, read", "cat"),
    ):
        over, under = report.results[ours].mb_per_s, report.results[theirs].mb_per_s
        report.ratios.append(Ratio(ours, over, under, theirs))
    return report


def test_file_store(benchmark: Benchmark, bench: Bench) -> None:
    under_pytest(benchmark, lambda: measured(bench.pair.v1, bench.room / "store", bench.rounds))
