"""A thousand small jobs: how fast they are done, and how long each waits for its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.harness import Ratio
from bench.show.registry import Figure, Room, at_least, at_most, check, told
from bench.small_jobs import JOBS, a_queue, measure, share

if TYPE_CHECKING:
    from collections.abc import Generator

    from bench.small_jobs import Queue

LEAST_SHARE: Final = 0.05
"""Of what plain transactions would allow: most of a job is Python, where a disk's syncs are nearly free."""
MEDIAN_MS: Final = 100.0
LATE_MS: Final = 1500.0
"""A worker at rest looks for other processes' jobs every second; behind a job thirty times as often."""
_IN_SHORT: Final = 200  # jobs
_SLOWER: Final = 4  # times, on a busy machine


@check("locations", "small-jobs", "1,000 small jobs: jobs a second and how long each waits, by one worker and by two.")
def small_jobs(room: Room) -> Generator[Figure, None, None]:
    count, rounds = (_IN_SHORT, 1) if room.short else (JOBS, 3)
    slower = _SLOWER if room.short else 1
    with a_queue(room.images, count) as queue:
        found = measure(queue, rounds)
        listed = tuple(f"round: plain {plain:.0f}, one {one:.0f}, two {two:.0f}" for plain, one, two in found.rounds)
        yield told("two plain transactions a job, one after another", f"{found.plain:.0f} jobs/s", listed)
        for name, speed in (("one worker", found.one), ("two workers", found.two)):
            ratio = Ratio(name, speed, found.plain, "plain transactions", "jobs/s")
            yield at_least(f"{name}: share of that", ratio.value, LEAST_SHARE / slower, "", (str(ratio),))
        for workers in (1, 2):
            yield from _waits(queue, workers, 2 / found.one, slower)


def _waits(queue: Queue, workers: int, every: float, slower: int) -> Generator[Figure, None, None]:
    """How long jobs wait that come one by one, at half the speed at which one worker does them."""
    waits = queue.by_workers(workers, every=every)
    for name, each in (("begun", waits.begun), ("done", waits.done)):
        told_as = f"{workers} at half of one's speed, until {name}"
        yield at_most(f"{told_as}: median", share(each, 50) * 1000, MEDIAN_MS * slower, "ms")
        yield at_most(f"{told_as}: of 99 in 100", share(each, 99) * 1000, LATE_MS * slower, "ms")
