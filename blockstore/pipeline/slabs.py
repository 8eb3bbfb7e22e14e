"""Slabs: pieces of the stream in memory, all from one budget in bytes for the whole process.

This is the bound on memory and the back-pressure in one: an upload that gets no slab does not read its socket. One half
of the budget is promised: each share is sure of `sure` slabs from its admission on, so no upload that has begun can
starve. The other half is lent: beyond what it is sure of, a share may have up to `most` while there is room. Loans
never touch the half for promises, so busy uploads can't keep new ones out.
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
        self.queued = 0
        """Transfers that wait to be admitted, for whoever watches; kept by the one thread that admits."""
        self._lock = threading.Lock()
        self._promised = 0
        self._lent = 0
        self._out = 0
        self._idle: dict[int, list[bytearray]] = {}
        self._waiting: deque[Callable[[], None]] = deque()

    def admit(self, size: int, *, sure: int = SURE, most: int = MOST, within: int | None = None) -> SlabShare | None:
        """A share of slabs of `size` bytes, or None when the budget can't be sure of it now: wait with `when_free`.

        `within`: how many bytes may be promised with this share included; half the budget by default. A share that is
        larger is admitted when nothing else is: slow, but not never.
        """
        with self._lock:
            limit = self.budget // 2 if within is None else within
            if self._promised + sure * size > limit and (self._promised or self._lent):
                return None
            self._promised += sure * size
            return SlabShare(self, size, sure, most)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, on any thread, when something has been given back; it must not block."""
        with self._lock:
            self._waiting.append(callback)

    @property
    def taken(self) -> int:
        """Bytes promised or held."""
        with self._lock:
            return self._promised + self._lent

    def take(self, share: SlabShare, count: int, least: int = 1) -> int:
        """Count up to `count` slabs for a share, `least` or none; gives how many it has got (called by SlabShare)."""
        with self._lock:
            if share.closed:
                return 0
            sure = max(0, share.sure - share.held)
            room = max(0, min(self.budget // 2, self.budget - self._promised) - self._lent) // share.size
            got = max(0, min(count, share.most - share.held, sure + room))
            if got < least:
                return 0
            self._lent += max(0, got - sure) * share.size
            share.held += got
            return got

    def buffer(self, size: int) -> bytearray:
        """Memory for what was counted, used before if possible (called by SlabShare)."""
        with self._lock:
            idle = self._idle.get(size)
            buffer = idle.pop() if idle else None
            self._out += size
            self._trim()
        return bytearray(size) if buffer is None else buffer

    def give_back(self, share: SlabShare, buffer: bytearray | None) -> None:
        """Take a slab back, with its buffer if it had one (called by Slab and SlabShare)."""
        with self._lock:
            self._uncount(share)
            self._keep(buffer)
            woken = self._wake()
        for callback in woken:
            callback()

    def take_back(self, share: SlabShare, count: int, buffer: bytearray | None) -> None:
        """Take back what was reserved, with the buffer that was filled meanwhile (called by SlabShare)."""
        with self._lock:
            for _ in range(count):
                self._uncount(share)
            self._keep(buffer)
            woken = self._wake()
        for callback in woken:
            callback()

    def leave(self, share: SlabShare) -> None:
        """Give up what a share was sure of and does not hold (called by SlabShare)."""
        with self._lock:
            if share.closed:
                return
            share.closed = True
            self._promised -= max(0, share.sure - share.held) * share.size
            woken = self._wake()
        for callback in woken:
            callback()

    def let_go(self) -> None:
        """Keep no buffer for later: nobody is expected soon."""
        with self._lock:
            self._idle.clear()

    def _uncount(self, share: SlabShare) -> None:
        share.held -= 1
        if share.held >= share.sure:
            self._lent -= share.size
        elif share.closed:
            self._promised -= share.size

    def _keep(self, buffer: bytearray | None) -> None:
        if buffer is not None:
            self._out -= len(buffer)
            self._idle.setdefault(len(buffer), []).append(buffer)
            self._trim()

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
        return Slab(self, self.pool.buffer(self.size)) if self.pool.take(self, 1) else None

    def reserve(self, count: int, *, least: int = 1) -> int:
        """Count slabs that need not be one by one: up to `count`, and none if it would be less than `least`."""
        return self.pool.take(self, count, least)

    def room(self, size: int) -> bytearray:
        """One buffer in the place of some that were reserved; to be given back with them."""
        return self.pool.buffer(size)

    def release(self, count: int, room: bytearray | None = None) -> None:
        """So many of what was reserved are free again, and the room that was made of them; keep no view of it."""
        self.pool.take_back(self, count, room)

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
