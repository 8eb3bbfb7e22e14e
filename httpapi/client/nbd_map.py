"""Where an NBD export has data, as the server tells it: asked for once, a gigabyte at a time, and kept in memory.

What is told of a gigabyte holds from then on: it is for exports that nobody writes to.
"""

from __future__ import annotations

import threading
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

SPAN: Final = 1 << 30
_MOST_KEPT: Final = 16


class NbdMap:
    """`ask` gives (length, flags) from an offset on, of a part of so many bytes; `is_data` judges flags.

    Safe on several threads. Raises what `ask` raises.
    """

    def __init__(
        self, size: int, ask: Callable[[int, int], Sequence[tuple[int, int]]], is_data: Callable[[int], bool]
    ) -> None:
        self._size = size
        self._ask = ask
        self._is_data = is_data
        self._turn = threading.Lock()
        self._spans: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        # What was found last: from the first byte on a hole, up to the second; then data, up to the third.
        self._last = (0, 0, 0)

    def next_data(self, start: int) -> tuple[int, int]:
        """The next stretch of data from `start` on, as (start, stop): a hole before it; at the end twice the size."""
        with self._turn:
            if not self._last[0] <= start < self._last[1]:
                self._last = (start, *self._find(start))
            return self._last[1:]

    def extents(self) -> Iterator[tuple[int, int]]:
        """All data, as (offset, length)."""
        at = 0
        while at < self._size:
            data, stop = self.next_data(at)
            if stop > data:
                yield data, stop - data
            at = stop

    def _find(self, at: int) -> tuple[int, int]:
        while at < self._size:
            starts, stops = self._span(at // SPAN)
            here = int(np.searchsorted(stops, at, side="right"))
            if here < len(stops):
                return max(at, int(starts[here])), int(stops[here])
            at = (at // SPAN + 1) * SPAN
        return self._size, self._size

    def _span(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Starts and stops of its data."""
        if number not in self._spans:
            while len(self._spans) >= _MOST_KEPT:
                del self._spans[next(iter(self._spans))]
            self._spans[number] = self._asked(number * SPAN, min(self._size, (number + 1) * SPAN))
        return self._spans[number]

    def _asked(self, at: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        starts: list[int] = []
        stops: list[int] = []
        while at < end:
            told = self._ask(at, end - at)
            ends = list(accumulate((length for length, _ in told), initial=at))
            if ends[-1] <= at:
                # Nothing is told: it may be data.
                told, ends = [(end - at, -1)], [at, end]
            for start, stop, (_, flags) in zip(ends, ends[1:], told, strict=False):
                if flags >= 0 and not self._is_data(flags):
                    continue
                if stops and stops[-1] == start:
                    stops[-1] = min(stop, end)
                elif start < end:
                    starts.append(start)
                    stops.append(min(stop, end))
            at = ends[-1]
        return np.array(starts, dtype=np.int64), np.array(stops, dtype=np.int64)
