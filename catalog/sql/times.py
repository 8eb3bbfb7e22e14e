"""Times as the tables keep them: whole microseconds since 1970-01-01 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """The column's value of an aware time."""
    return (moment - _EPOCH) // _TICK


def from_us(us: int) -> datetime:
    """The time, in UTC, of a column's value."""
    return _EPOCH + us * _TICK
