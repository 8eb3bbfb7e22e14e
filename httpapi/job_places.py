"""How many jobs of each lane a process works on at once, by the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.lane import Places

if TYPE_CHECKING:
    from httpapi.settings import Settings

_SLOW: Final = 4  # a project alone has two of them, and two others find places beside it


def in_server(settings: Settings) -> Places:
    """In a server, all its workers together; `slow_jobs` unset means none where `jobs` leaves all to others."""
    slow = settings.slow_jobs
    return Places(settings.jobs, slow if slow is not None else _SLOW if settings.jobs else 0)


def in_worker(settings: Settings) -> Places:
    """In a process for jobs alone, which does what servers leave to others."""
    slow = settings.slow_jobs
    return Places(settings.jobs or 1, _SLOW if slow is None else slow or 1)


def share(places: Places, number: int, of: int) -> Places:
    """The part of process `number` of so many, from 1; with fewer places than processes the first ones have them.

    Slow places go in pairs, so that no project can have all of a process.
    """
    pairs = min(of, max(1, places.slow // 2))
    return Places(_part(places.quick, number, of), _part(places.slow, number, pairs) if number <= pairs else 0)


def _part(count: int, number: int, of: int) -> int:
    return count // of + (number <= count % of)
