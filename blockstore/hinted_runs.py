"""The quick way of reading: blocks whose places are known without the index, a run at a time and into given memory.

A run is what lies together in a pack and follows one another in the image. It is read by one call, and decompressed or
checked by a few; per block there is only its hash. Wherever something is not as it should be, this gives up with
Missing or Damaged, and `block_fetch.py` goes block by block, looks again, and says what is wrong.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.digest import digest
from blockstore.errors import Damaged
from blockstore.packs.pack_format import are_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blockstore.packs.local import LocalPacks
    from blockstore.resolve import Window

AT_ONCE: Final = 1024 * 1024
"""Bytes of a pack that are read at a time to be decompressed, one block at least: they fit into a core's cache."""


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

    def stored_length(self, window: Window) -> int:
        """How many bytes `fill_stored` will put, at most."""
        entries = window.hints[window.data, 2].astype(np.int64) + HEADER_SIZE
        return int(entries.sum()) + (len(window) - len(entries)) * frames.LONGEST_ZERO_FRAME

    def fill_stored(self, window: Window, room: memoryview) -> int:
        """Put the blocks of the window as they are stored into `room`, holes as frames of zeros; gives the length."""
        at = 0
        for run in _runs(window):
            if run.data[0]:
                entries = _entry_bounds(run)
                part = room[at : at + int(entries[-1])]
                self._packs.read_into(self._pack_name(int(run.hints[0, 0])), int(run.hints[0, 1]), part)
                if not are_entries(part, entries[:-1], run.hints, run.digests):
                    raise self._astray(run)
                at += len(part)
            else:
                for frame in frames.zero_frames(int(run.bounds[-1] - run.bounds[0])):
                    room[at : at + len(frame)] = frame
                    at += len(frame)
        return at

    def _unpack(self, run: Window, room: memoryview) -> None:
        pack, begins = self._pack_name(int(run.hints[0, 0])), int(run.hints[0, 1])
        entries, bounds = _entry_bounds(run), (run.bounds - run.bounds[0]).tolist()
        first = 0
        while first < len(run):
            fit = int(np.searchsorted(entries, entries[first] + AT_ONCE, side="right")) - 1
            last = max(first + 1, fit)
            data = _scratch.of(int(entries[last] - entries[first]))
            self._packs.read_into(pack, begins + int(entries[first]), data)
            frames.decompress_run(data, room[bounds[first] : bounds[last]])
            blocks = itertools.pairwise(bounds[first : last + 1])
            if b"".join([digest(room[start:stop]) for start, stop in blocks]) != run.digests[first:last].tobytes():
                raise self._astray(run)
            first = last

    def _astray(self, run: Window) -> Damaged:
        return Damaged(f"what {self._what} remembers of places in pack {run.hints[0, 0]} is not so")


def _entry_bounds(run: Window) -> NDArray[np.int64]:
    """Where the run's entries begin, and the last one ends, from its beginning on."""
    ends = np.cumsum(run.hints[:, 2].astype(np.int64) + HEADER_SIZE)
    return np.concatenate([np.zeros(1, dtype=np.int64), ends])


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
