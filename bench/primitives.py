"""The work that no store of this kind can leave out, fused slab by slab in a plain process: no queue, no thread.

Each primitive is a step on a slab, and its CPU seconds are counted apart. The same steps, run one alone over slabs that
lie ready in memory, give each primitive's single speed.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import zstandard
from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from threading import Barrier

SLAB = 1 << 20
BLOCK = 65536
INGEST = ("read", "holes", "blake3", "look-up", "zstd", "write", "sha512", "md5")
READ = ("pread", "unzstd", "blake3")
HASHES = ("sha512", "md5")
SAMPLE = 192 << 20  # bytes that a primitive alone is measured on, spread over the image
_WINDOW = 16  # slabs
_SYNC_EVERY = 256 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """One process's part of the work: every `parts`-th slab of the image from `part` on, by the named steps.

    `held`: the image whose blocks are stored already. `pack`: a file to write, or to fill and then read.
    """

    image: Path
    pack: Path
    steps: tuple[str, ...]
    held: Path | None = None
    part: int = 0
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of one primitive, and the bytes of image or pack that it worked on."""

    seconds: float
    size: int


@dataclass(slots=True)
class Slab:
    """A piece of the image on its way; each step leaves here what the next one needs."""

    offset: int
    buffer: bytearray
    data: memoryview = field(default_factory=lambda: memoryview(b""))
    live: Sequence[memoryview | bytes] = ()
    digests: Sequence[bytes] = ()
    new: Sequence[memoryview | bytes] = ()
    frames: Sequence[bytes] = ()
    stored: bytes = b""
    at: int = 0  # where its frames are in the pack
    lengths: Sequence[int] = ()

    def drop(self) -> None:
        """Lets go of everything but the place of its frames."""
        self.data = memoryview(b"")
        self.live = self.digests = self.new = self.frames = ()
        self.stored = b""


_barrier: list[Barrier] = []


def start_together(barrier: Barrier) -> None:
    """The initializer of worker processes."""
    _barrier[:] = [barrier]


def fused(task: Task) -> dict[str, Spent]:
    """Every step on one slab, then the next slab."""
    seconds = dict.fromkeys(task.steps, 0.0)
    sizes = dict.fromkeys(task.steps, 0)
    with Workshop(task) as workshop:
        slabs = workshop.slabs(task.parts)
        steps = [(name, workshop.step(name)) for name in task.steps]
        for barrier in _barrier:
            barrier.wait(timeout=300)
        mark = time.thread_time()
        for slab in slabs:
            for name, step in steps:
                sizes[name] += step(slab)
                now = time.thread_time()
                seconds[name] += now - mark
                mark = now
            slab.drop()
    return {name: Spent(seconds[name], sizes[name]) for name in task.steps}


def alone(task: Task) -> dict[str, Spent]:
    """Each step by itself over a few slabs whose earlier steps are done, for a sample of the image.

    Few at once, and in the same buffers again, because the first touch of memory costs more than most steps.
    """
    seconds = dict.fromkeys(task.steps, 0.0)
    sizes = dict.fromkeys(task.steps, 0)
    buffers = [bytearray(SLAB) for _ in range(_WINDOW)]
    with Workshop(task) as workshop:
        slabs = workshop.slabs(max(1, task.image.stat().st_size // SAMPLE))
        steps = [(name, workshop.step(name)) for name in task.steps]
        for first in range(0, len(slabs), _WINDOW):
            window = slabs[first : first + _WINDOW]
            for slab, buffer in zip(window, buffers, strict=False):
                slab.buffer = buffer
            for name, step in steps:
                started = time.thread_time()
                sizes[name] += sum(step(slab) for slab in window)
                seconds[name] += time.thread_time() - started
            for slab in window:
                slab.drop()
    return {name: Spent(seconds[name], sizes[name]) for name in task.steps}


class Workshop:
    """The steps of one process, with the files and the reused objects that they work with."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._image = os.open(task.image, os.O_RDONLY)
        self._pack = os.open(task.pack, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._compress = zstandard.ZstdCompressor(level=1, write_checksum=True).compress
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._taps = {name: hashlib.new(name) for name in HASHES}
        self._written = self._synced = 0
        self._held: set[bytes] = _digests_of(task.held) if task.held else set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._image)
        os.close(self._pack)
        self._task.pack.unlink()

    def slabs(self, every: int) -> list[Slab]:
        """Every so many slabs of the image, sharing one buffer; to be read, they are put into the pack first."""
        buffer = bytearray(SLAB)
        size = os.fstat(self._image).st_size
        slabs = [Slab(offset, buffer) for offset in range(self._task.part * SLAB, size, every * SLAB)]
        if "pread" in self._task.steps:
            packing = [self._read, find_holes, _all_new, self._zstd, self._write]
            for slab in slabs:
                for step in packing:
                    step(slab)
                slab.drop()
        return slabs

    def step(self, name: str) -> Callable[[Slab], int]:
        """The primitive of that name: works on a slab and says how many bytes it saw."""
        if name in self._taps:
            return partial(self._tap, self._taps[name])
        steps: dict[str, Callable[[Slab], int]] = {
            "read": self._read,
            "holes": find_holes,
            "blake3": hash_blocks,
            "look-up": self._look_up,
            "zstd": self._zstd,
            "write": self._write,
            "pread": self._pread,
            "unzstd": self._unzstd,
        }
        return steps[name]

    def _read(self, slab: Slab) -> int:
        got = os.preadv(self._image, [slab.buffer], slab.offset)
        slab.data = memoryview(slab.buffer)[:got]
        return got

    def _look_up(self, slab: Slab) -> int:
        new = []
        for digest, block in zip(slab.digests, slab.live, strict=True):
            if digest not in self._held:
                self._held.add(digest)
                new.append(block)
        slab.new = new
        return len(slab.live) * BLOCK

    def _zstd(self, slab: Slab) -> int:
        slab.frames = [self._compress(block) for block in slab.new]
        return sum(map(len, slab.new))

    def _write(self, slab: Slab) -> int:
        slab.at = self._written
        slab.lengths = [len(frame) for frame in slab.frames]
        wrote = os.writev(self._pack, slab.frames) if slab.frames else 0
        self._written += wrote
        if self._written - self._synced > _SYNC_EVERY:
            os.fsync(self._pack)
            self._synced = self._written
        return wrote

    def _pread(self, slab: Slab) -> int:
        slab.stored = os.pread(self._pack, sum(slab.lengths), slab.at)
        return len(slab.stored)

    def _unzstd(self, slab: Slab) -> int:
        stored, at, live = memoryview(slab.stored), 0, []
        for length in slab.lengths:
            live.append(self._decompress(stored[at : at + length]))
            at += length
        slab.live = live
        return sum(map(len, live))

    @staticmethod
    def _tap(tap: hashlib._Hash, slab: Slab) -> int:
        tap.update(slab.data)
        return len(slab.data)


def find_holes(slab: Slab) -> int:
    """The blocks that aren't zeros; whole ones by one numpy call."""
    size = len(slab.data)
    whole = size // BLOCK
    words = np.frombuffer(slab.data[: whole * BLOCK], np.uint64).reshape(whole, BLOCK // 8)
    live = [slab.data[k * BLOCK : (k + 1) * BLOCK] for k in np.flatnonzero(words.any(axis=1)).tolist()]
    tail = slab.data[whole * BLOCK :]
    slab.live = [*live, tail] if any(tail) else live
    return size


def _all_new(slab: Slab) -> int:
    slab.new = slab.live
    return 0


def hash_blocks(slab: Slab) -> int:
    slab.digests = [blake3(block).digest() for block in slab.live]
    return sum(map(len, slab.live))


def _digests_of(image: Path) -> set[bytes]:
    digests: set[bytes] = set()
    with image.open("rb") as file:
        while data := file.read(SLAB):
            slab = Slab(0, bytearray(), memoryview(data))
            find_holes(slab)
            hash_blocks(slab)
            digests.update(slab.digests)
    return digests
