"""Lanes: jobs that may take hours have places of their own, so that they never hold up those that take seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from catalog.model.importing import CONVERT, IMPORT, IMPORT_TASK
from catalog.model.task import COALESCE, HASH, LOCATION_IMPORT, PUT_BACK

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Lane(StrEnum):
    """A lane of the queue of jobs.

    In `QUICK` the job comes first that has been due for longest. In `SLOW` projects take turns, and none has all
    places: what is done there waits for other servers, or computes for hours.
    """

    QUICK = "quick"
    SLOW = "slow"


LANES: Final[Mapping[str, Lane]] = {
    HASH: Lane.QUICK,
    COALESCE: Lane.QUICK,
    PUT_BACK: Lane.QUICK,
    IMPORT: Lane.SLOW,
    IMPORT_TASK: Lane.SLOW,
    CONVERT: Lane.SLOW,
    LOCATION_IMPORT: Lane.SLOW,
}
"""The lane of each kind of job; one that reads what lies elsewhere waits in the slow one, whatever its kind."""


def lane_of(kind: str) -> Lane:
    """Where a job of this kind waits: the quick lane, unless something else is said."""
    return LANES.get(kind, Lane.QUICK)


@dataclass(frozen=True, slots=True)
class Places:
    """How many jobs of each lane are worked on at once."""

    quick: int
    slow: int

    def of(self, lane: Lane) -> int:
        """In this lane."""
        return self.slow if lane is Lane.SLOW else self.quick


def crowding(running: Collection[str], places: int) -> frozenset[str]:
    """The projects that begin nothing more now, of those whose jobs are at work in so many places.

    `running` names a project once for each of its jobs. A project with jobs at work begins another only while more
    places than these are free. So one alone gets half of them, and another one finds a place whatever the first does.
    """
    free, counts = places - len(running), Counter(running)
    return frozenset(owner for owner, count in counts.items() if count >= free)
