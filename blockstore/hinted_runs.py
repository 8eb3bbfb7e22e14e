"""The quick way of reading: blocks whose places are known without the index, a run at a time and into given memory.

A run is what lies together in a pack and follows one another in the image. It is read by one call, and decompressed or
checked by a few; per block there is only its hash. Wherever something is not as it should be, this gives up with
Missing or Damaged, and `block_fetch.py` goes block by block, looks again, and says what is wrong.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.digest import digest
from blockstore.errors import Damaged
from blockstore.packs.pack_format import are_entries
from blockstore.stored_span import PackBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blockstore.packs.local import LocalPacks, PackFile
    from blockstore.resolve import Window
    from blockstore.stored_span import StoredSpan

AT_ONCE: Final = 1024 * 1024
"""Bytes of a pack that are read at a time to be unpacked or checked, one block at least: a core's cache has them."""
WORTH_SENDING: Final = 256 * 1024
"""Bytes from which on a run is sent from its pack: below, opening it for so long costs more than a copy."""


class _Scratch(threading.local):
    """A thread's own memory for what it reads, since the first touch of memory costs more than reading does."""

    def __init__(self) -> None:
        self.buffer = bytearray(AT_ONCE)

    def of(self, size: int) -> memoryview:
        if size > len(self.buffer):
            return memoryview(bytearray(size))
        return memoryview(self.buffer)[:size]


_scratch = _Scratch()


class HintedRuns:
    """Reads windows whose blocks all have hints; safe on several threads at once. `what` names the image in errors."""

    def __init__(self, packs: LocalPacks, pack_name: Callable[[int], bytes], what: str) -> None:
        self._packs = packs
        self._pack_name = pack_name
        self._what = what

    @staticmethod
    def knows(window: Window) -> bool:
        """Whether each block of the window is a hole or has a hint that can be true: the work then is bounded."""
        lengths = np.diff(window.bounds)
        hints = window.hints.astype(np.int64)
        # No frame is longer than zstd can make it, as LONGEST_FRAME has it for the longest block.
        fits = (hints[:, 0] != 0) & (hints[:, 3] == lengths) & (hints[:, 2] <= lengths + lengths // 128 + 1024)
        return bool((fits | ~window.data).all())

    def fill(self, window: Window, room: memoryview) -> None:
        """Put the bytes of all blocks of the window into `room`, which is as long; each was verified."""
        for run in _runs(window):
            begins = int(run.bounds[0] - window.bounds[0])
            part = room[begins : begins + int(run.bounds[-1] - run.bounds[0])]
            if run.data[0]:
                self._unpack(run, part)
            else:
                np.frombuffer(part, dtype=np.uint8)[:] = 0

    def stored(self, window: Window, span: StoredSpan) -> None:
        """Add the blocks of the window as they are stored to `span`, holes as frames of zeros."""
        for run in _runs(window):
            if not run.data[0]:
                span.parts += frames.zero_frames(int(run.bounds[-1] - run.bounds[0]))
                continue
            entries = _entry_bounds(run)
            length = int(entries[-1])
            pack = self._open(run)
            if length < WORTH_SENDING:
                with contextlib.closing(pack):
                    span.parts.append(self._checked(run, entries, pack, memoryview(bytearray(length))))
            else:
                # Part of the span from now on, which whoever made it closes.
                span.parts.append(PackBytes(pack, int(run.hints[0, 1]), length))
                for first, last in _pieces(entries):
                    piece = entries[first : last + 1] - entries[first]
                    self._checked(run.part(first, last), piece, pack, _scratch.of(int(piece[-1])))

    def _open(self, run: Window) -> PackFile:
        return self._packs.open(self._pack_name(int(run.hints[0, 0])))

    def _checked(self, run: Window, entries: NDArray[np.int64], pack: PackFile, room: memoryview) -> memoryview:
        """A run's entries, read into `room`; Damaged if they are not those of its blocks."""
        pack.read_into(int(run.hints[0, 1]), room)
        if not are_entries(room, entries[:-1], run.hints, run.digests):
            raise self._astray(run)
        return room

    def _unpack(self, run: Window, room: memoryview) -> None:
        entries, bounds = _entry_bounds(run), (run.bounds - run.bounds[0]).tolist()
        with contextlib.closing(self._open(run)) as pack:
            for first, last in _pieces(entries):
                data = _scratch.of(int(entries[last] - entries[first]))
                pack.read_into(int(run.hints[first, 1]), data)
                frames.decompress_run(data, room[bounds[first] : bounds[last]])
                blocks = itertools.pairwise(bounds[first : last + 1])
                if b"".join([digest(room[start:stop]) for start, stop in blocks]) != run.digests[first:last].tobytes():
                    raise self._astray(run)

    def _astray(self, run: Window) -> Damaged:
        return Damaged(f"what {self._what} remembers of places in pack {run.hints[0, 0]} is not so")


def _entry_bounds(run: Window) -> NDArray[np.int64]:
    """Where the run's entries begin, and the last one ends, from its beginning on."""
    ends = np.cumsum(run.hints[:, 2].astype(np.int64) + HEADER_SIZE)
    return np.concatenate([np.zeros(1, dtype=np.int64), ends])


def _pieces(entries: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """A run's blocks in parts of AT_ONCE bytes of the pack, a block at least."""
    first, count = 0, len(entries) - 1
    while first < count:
        fit = int(np.searchsorted(entries, entries[first] + AT_ONCE, side="right")) - 1
        last = max(first + 1, fit)
        yield first, last
        first = last


def _runs(window: Window) -> Iterator[Window]:
    """The window in parts: holes in a row, or blocks that lie one after another in a pack."""
    hints, data = window.hints, window.data
    ends = hints[:, 1].astype(np.int64) + HEADER_SIZE + hints[:, 2]
    follows = (hints[1:, 0] == hints[:-1, 0]) & (hints[1:, 1] == ends[:-1])
    joins = np.where(data[1:], data[:-1] & follows, ~data[:-1])
    cuts = [0, *(np.flatnonzero(~joins) + 1).tolist(), len(data)]
    for first, last in itertools.pairwise(cuts):
        if last > first:
            yield window.part(first, last)
