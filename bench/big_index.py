"""An index of many millions of rows, and ways to have its pages in memory or not.

    python -m bench.big_index DATA [--rows 20000000]      a data directory whose index has so many random rows

The rows stand for blocks that nobody asks for: their digests are random, their packs are numbered beyond real ones and
don't exist.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb
import numpy as np

from blockstore.block import Place
from blockstore.index.lmdb_env import MAP_SIZE
from blockstore.store import BlockStore

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKS: Final = 1 << 31  # the first number of a pack that isn't there
_ENTRIES: Final = 2300  # of a pack of 64 MiB
_BUCKETS: Final = 256
_RECIPE: Final = 1  # part of the cache's name


def big_data(work: Path, rows: int) -> Path:
    """A closed data directory with so many rows and no image; made once and kept: copy it before it is written to."""
    home = work / f"big-index-{rows}-{_RECIPE}"
    if not home.exists():
        making = work / f"{home.name}.making"
        shutil.rmtree(making, ignore_errors=True)
        BlockStore.open(making).close()
        fill(making, rows)
        making.rename(home)
    return home


def fill(data: Path, rows: int, seed: int = 1) -> None:
    """Put random rows into the empty index of a closed data directory, in the order of their digests: so it is fast."""
    env = lmdb.open(str(data / "index"), map_size=MAP_SIZE, max_dbs=8, sync=False, readahead=False)
    try:
        table = env.open_db(b"blocks")
        for pairs in _buckets(rows, seed):
            with env.begin(write=True) as txn, txn.cursor(table) as cursor:
                _, added = cursor.putmulti(pairs, append=True)
                assert added == len(pairs), "digests are random, and sorted"
        env.sync(True)
    finally:
        env.close()


def index_file(data: Path) -> Path:
    return data / "index" / "data.mdb"


def drop(file: Path) -> None:
    """Let the kernel forget the file's pages; it keeps those that are mapped or not yet written."""
    fd = os.open(file, os.O_RDWR)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def warm(file: Path) -> None:
    """Have all the file's pages in memory."""
    with file.open("rb", buffering=0) as whole:
        buffer = bytearray(1 << 20)
        while whole.readinto(buffer):
            continue


def resident(file: Path) -> float:
    """The share of the file's pages that are in memory, by mincore(2) over a mapping that is gone again afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fd = os.open(file, os.O_RDWR)  # who may not write is told that every page is there
    try:
        size = os.fstat(fd).st_size
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    finally:
        os.close(fd)
    if at == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(file))
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    failed = libc.mincore(at, size, pages)
    error = ctypes.get_errno()
    libc.munmap(at, size)
    if failed:
        raise OSError(error, os.strerror(error), str(file))
    return float((np.frombuffer(pages.raw, np.uint8) & 1).mean())


def mappers(file: Path) -> list[int]:
    """The processes that have the file mapped."""
    name = str(file.resolve())
    found = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if name in maps.read_text(errors="replace"):
                found.append(int(maps.parent.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _buckets(rows: int, seed: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Random digests with made-up places, ascending; a list a first byte, so that few are sorted at a time."""
    dice = np.random.Generator(np.random.SFC64(seed))
    packs = max(1, rows // _ENTRIES)
    for first in range(_BUCKETS):
        count = rows * (first + 1) // _BUCKETS - rows * first // _BUCKETS
        heads = np.unique(dice.integers(0, 1 << 56, count + count // 8 + 16, np.uint64))
        heads = np.sort(dice.permutation(heads)[:count]) | np.uint64(first << 56)
        tails = dice.bytes(24 * count)
        numbers = (dice.integers(0, packs, count) + _PACKS).tolist()
        offsets = dice.integers(0, 1 << 26, count).tolist()
        sites = zip(heads.astype(">u8").view("S8").tolist(), numbers, offsets, strict=True)
        yield [
            (head.ljust(8, b"\0") + tails[24 * at : 24 * at + 24], Place(number, offset, 26000, 65536).encode())
            for at, (head, number, offset) in enumerate(sites)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.big_index", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=20_000_000)
    wanted = parser.parse_args()
    started = time.perf_counter()
    BlockStore.open(wanted.data).close()
    fill(wanted.data, wanted.rows)
    size = index_file(wanted.data).stat().st_size
    print(f"{wanted.rows} rows, {size / 1e6:.0f} MB, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
