"""A limit on how fast bytes are read, shared by several threads."""

from __future__ import annotations

import threading

from blockstore import clock


class Throttle:
    """Lets `rate` bytes a second through; None lets everything. Nobody waits any more once `stop` is set."""

    def __init__(self, rate: int | None, stop: threading.Event | None = None) -> None:
        self._rate = rate
        self._stop = stop or threading.Event()
        self._lock = threading.Lock()
        self._free = clock.monotonic()

    def take(self, count: int) -> None:
        """Wait until `count` bytes may be read; whoever comes later waits for those before."""
        if self._rate is None:
            return
        with self._lock:
            now = clock.monotonic()
            begins = max(self._free, now)
            self._free = begins + count / self._rate
        self._stop.wait(begins - now)
