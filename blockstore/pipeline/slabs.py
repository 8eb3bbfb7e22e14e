"""Slabs: pieces of the stream in memory, all from one budget in bytes for the whole process.

This is the bound on memory and the back-pressure in one: an upload that gets no slab does not read its socket. Each
share is sure of `sure` slabs, counted against the budget from its admission on, so no upload that has begun can starve;
beyond them it may have up to `most`, as long as the budget has room.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET: Final = 96 * 1024 * 1024
SURE: Final = 2
MOST: Final = 8


class SlabPool:
    """The process's budget. Buffers are reused: the first touch of memory costs 0.8–1.7 s a GiB."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._lock = threading.Lock()
        self._taken = 0
        self._out = 0
        self._idle: dict[int, list[bytearray]] = {}
        self._waiting: deque[Callable[[], None]] = deque()

    def admit(self, size: int, *, sure: int = SURE, most: int = MOST) -> SlabShare | None:
        """A share of slabs of `size` bytes, or None when the budget can't be sure of it now: wait with `when_free`.

        A share that the whole budget could not hold is admitted when nothing else is: slow, but not never.
        """
        with self._lock:
            if self._taken and self._taken + sure * size > self.budget:
                return None
            self._taken += sure * size
            return SlabShare(self, size, sure, most)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, on any thread, when something has been given back; it must not block."""
        with self._lock:
            self._waiting.append(callback)

    @property
    def taken(self) -> int:
        """Bytes promised or held."""
        with self._lock:
            return self._taken

    def take(self, share: SlabShare) -> bool:
        """Count a slab for a share, if it may have one now (called by SlabShare)."""
        with self._lock:
            if share.closed:
                return False
            if share.held >= share.sure:
                if share.held >= share.most or self._taken + share.size > self.budget:
                    return False
                self._taken += share.size
            share.held += 1
            return True

    def buffer(self, size: int) -> bytearray:
        """Memory for a slab that was counted, used before if possible (called by SlabShare)."""
        with self._lock:
            idle = self._idle.get(size)
            buffer = idle.pop() if idle else None
            self._out += size
            self._trim()
        return bytearray(size) if buffer is None else buffer

    def give_back(self, share: SlabShare, buffer: bytearray | None) -> None:
        """Take a slab back, with its buffer if it had one (called by Slab and SlabShare)."""
        with self._lock:
            share.held -= 1
            if share.held >= share.sure or share.closed:
                self._taken -= share.size
            if buffer is not None:
                self._out -= share.size
                self._idle.setdefault(share.size, []).append(buffer)
                self._trim()
            woken = self._wake()
        for callback in woken:
            callback()

    def leave(self, share: SlabShare) -> None:
        """Give up what a share was sure of and does not hold (called by SlabShare)."""
        with self._lock:
            if share.closed:
                return
            share.closed = True
            self._taken -= max(0, share.sure - share.held) * share.size
            woken = self._wake()
        for callback in woken:
            callback()

    def _trim(self) -> None:
        """Let idle buffers go (those of other sizes, mostly) until all that exist fit into the budget."""
        kept = sum(size * len(buffers) for size, buffers in self._idle.items())
        while kept and self._out + kept > self.budget:
            size = max(size for size, buffers in self._idle.items() if buffers)
            self._idle[size].pop()
            kept -= size

    def _wake(self) -> list[Callable[[], None]]:
        woken = list(self._waiting)
        self._waiting.clear()
        return woken


class SlabShare:
    """What one upload may have of the budget."""

    def __init__(self, pool: SlabPool, size: int, sure: int, most: int) -> None:
        self.pool = pool
        self.size = size
        self.sure = sure
        self.most = most
        self.held = 0
        self.closed = False

    def acquire(self) -> Slab | None:
        """A slab, or None: wait with `pool.when_free`, then ask again."""
        return Slab(self, self.pool.buffer(self.size)) if self.pool.take(self) else None

    def reserve(self) -> bool:
        """Count a slab's bytes without a buffer, for memory that somebody else allocates; `release` gives it back."""
        return self.pool.take(self)

    def release(self) -> None:
        """What was reserved is free again."""
        self.pool.give_back(self, None)

    def close(self) -> None:
        """No more slabs for this one; those that are out come back by themselves."""
        self.pool.leave(self)


class Slab:
    """A buffer with a count of those who still look at it.

    `head` bytes at its beginning were put there by the writer (the tail of the slab before); fill from there on.
    """

    __slots__ = ("_buffer", "_lock", "_share", "_users", "head", "view")

    def __init__(self, share: SlabShare, buffer: bytearray) -> None:
        self._share = share
        self._buffer = buffer
        self._users = 1
        self._lock = threading.Lock()
        self.head = 0
        self.view = memoryview(buffer)

    def share_with(self, users: int) -> None:
        """So many more will look at it."""
        with self._lock:
            self._users += users

    def drop(self) -> None:
        """One of them is done; after the last the buffer is used again, so no view of it may be kept."""
        with self._lock:
            self._users -= 1
            done = self._users == 0
        if done:
            self._share.pool.give_back(self._share, self._buffer)
