"""The one clock: everything that needs the time asks here, so tests can set it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The wall clock, timezone-aware, in UTC."""
    return datetime.fromtimestamp(now_us() / 1e6, UTC)


def now_us() -> int:
    """The wall clock in whole microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def monotonic() -> float:
    """Seconds on a clock that never goes back, for durations only."""
    return time.monotonic()
