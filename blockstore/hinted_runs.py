"""The quick way of reading: blocks whose places are known without the index, many at a time and into given memory.

A stretch are blocks that follow one another in the image. Wherever they lie, they are gathered, by one read for each
run that lies together in a pack, and then decompressed or checked by a few calls: blocks of an increment are strewn
over packs, and those few calls for each short run would cost more than all the rest. Per block there is only its hash.
Wherever something is not as it should be, this gives up with Missing or Damaged, and `block_fetch.py` goes block by
block, looks again, and says what is wrong.
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
from blockstore.stored_span import PackBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blockstore.packs.local import LocalPacks
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
        for stretch in _stretches(window):
            begins = int(stretch.bounds[0] - window.bounds[0])
            part = room[begins : begins + int(stretch.bounds[-1] - stretch.bounds[0])]
            if stretch.data[0]:
                self._unpack(stretch, part)
            else:
                np.frombuffer(part, dtype=np.uint8)[:] = 0

    def stored(self, window: Window, span: StoredSpan) -> None:
        """Add the blocks of the window as they are stored to `span`, holes as frames of zeros.

        What is gathered lies in the span's room while there is some, since memory that was used before costs less.
        """
        for stretch in _stretches(window):
            if not stretch.data[0]:
                span.parts += frames.zero_frames(int(stretch.bounds[-1] - stretch.bounds[0]))
                continue
            for part, is_long_run in _by_way_out(stretch):
                entries = _entry_bounds(part)
                if is_long_run:
                    self._add_run(part, entries, span)
                else:
                    span.parts.append(self._checked(part, entries, span.take(int(entries[-1]))))

    def _add_run(self, run: Window, entries: NDArray[np.int64], span: StoredSpan) -> None:
        pack = self._packs.open(self._pack_name(int(run.hints[0, 0])))
        # Part of the span from now on, which whoever made it closes.
        span.parts.append(PackBytes(pack, int(run.hints[0, 1]), int(entries[-1])))
        for first, last in _pieces(entries):
            piece, part = entries[first : last + 1] - entries[first], run.part(first, last)
            room = _scratch.of(int(piece[-1]))
            pack.read_into(int(part.hints[0, 1]), room)
            self._check(part, piece, room)

    def _checked(self, stretch: Window, entries: NDArray[np.int64], room: memoryview) -> memoryview:
        """A stretch's entries, gathered in `room`."""
        self._gather(stretch, entries, room)
        self._check(stretch, entries, room)
        return room

    def _check(self, stretch: Window, entries: NDArray[np.int64], room: memoryview) -> None:
        if not are_entries(room, entries[:-1], stretch.hints, stretch.digests):
            raise self._astray()

    def _unpack(self, stretch: Window, room: memoryview) -> None:
        entries, bounds = _entry_bounds(stretch), (stretch.bounds - stretch.bounds[0]).tolist()
        for first, last in _pieces(entries):
            part = stretch.part(first, last)
            data = _scratch.of(int(entries[last] - entries[first]))
            self._gather(part, entries[first : last + 1] - entries[first], data)
            frames.decompress_run(data, room[bounds[first] : bounds[last]])
            blocks = itertools.pairwise(bounds[first : last + 1])
            if b"".join([digest(room[start:stop]) for start, stop in blocks]) != part.digests.tobytes():
                raise self._astray()

    def _gather(self, stretch: Window, entries: NDArray[np.int64], room: memoryview) -> None:
        """The stretch's entries one after another, wherever they lie: those that lie together by one read."""
        hints, bounds, firsts = stretch.hints, entries.tolist(), _run_starts(stretch, entries).tolist()
        places = zip(hints[firsts, 0].tolist(), hints[firsts, 1].tolist(), strict=True)
        self._packs.read_into(
            (self._pack_name(pack), offset, room[bounds[first] : bounds[last]])
            for (pack, offset), (first, last) in zip(places, itertools.pairwise([*firsts, len(hints)]), strict=True)
        )

    def _astray(self) -> Damaged:
        return Damaged(f"what {self._what} remembers of places in its packs is not so")


def _entry_bounds(stretch: Window) -> NDArray[np.int64]:
    """Where the stretch's entries begin, and the last one ends, when they lie one after another."""
    ends = np.cumsum(stretch.hints[:, 2].astype(np.int64) + HEADER_SIZE)
    return np.concatenate([np.zeros(1, dtype=np.int64), ends])


def _run_starts(stretch: Window, entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of the blocks that do not follow the one before them in its pack."""
    hints = stretch.hints
    ends = hints[:, 1].astype(np.int64) + np.diff(entries)
    follows = (hints[1:, 0] == hints[:-1, 0]) & (hints[1:, 1] == ends[:-1])
    return np.concatenate([np.zeros(1, dtype=np.int64), np.flatnonzero(~follows) + 1])


def _by_way_out(stretch: Window) -> Iterator[tuple[Window, bool]]:
    """The stretch in parts: runs that are worth sending from their pack, and what lies between them."""
    entries = _entry_bounds(stretch)
    firsts = _run_starts(stretch, entries)
    lasts = np.append(firsts[1:], len(stretch))
    long_ones = np.flatnonzero(entries[lasts] - entries[firsts] >= WORTH_SENDING)
    done = 0
    for first, last in zip(firsts[long_ones].tolist(), lasts[long_ones].tolist(), strict=True):
        if done < first:
            yield stretch.part(done, first), False
        yield stretch.part(first, last), True
        done = last
    if done < len(stretch):
        yield stretch.part(done, len(stretch)), False


def _pieces(entries: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Entries in parts of AT_ONCE bytes, a block at least."""
    first, count = 0, len(entries) - 1
    while first < count:
        fit = int(np.searchsorted(entries, entries[first] + AT_ONCE, side="right")) - 1
        last = max(first + 1, fit)
        yield first, last
        first = last


def _stretches(window: Window) -> Iterator[Window]:
    """The window in parts: holes in a row, or blocks in a row."""
    changes = (np.flatnonzero(window.data[1:] != window.data[:-1]) + 1).tolist()
    for first, last in itertools.pairwise([0, *changes, len(window)]):
        if last > first:
            yield window.part(first, last)
