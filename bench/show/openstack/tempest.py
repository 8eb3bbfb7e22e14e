"""OpenStack's own tests of images, against this service with the real Keystone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from tests.tempest.run import PYTHON, runs

if TYPE_CHECKING:
    from collections.abc import Generator


LEAST = 75
"""Tests that run, of both profiles."""


@check("openstack", "tempest", "tempest.api.image with and without enforced formats: what is not listed passes.")
def tempest(room: Room) -> Generator[Figure, None, None]:
    yield from counted(room, LEAST)


def counted(room: Room, least: int) -> Generator[Figure, None, None]:
    """Both profiles; at least so many tests must run."""
    if not PYTHON.exists():
        yield holds("tempest is there: make .stamps/tempest", ok=False)
        return
    ran = 0
    for run in runs(room.work):
        ran += run.counts.get("run", 0)
        yield told(f"{run.profile}: tests", str(run).splitlines()[0].partition(": ")[2])
        yield at_most(f"{run.profile}: failed", run.counts.get("failed", 1), 0, "")
        yield at_most(f"{run.profile}: not as the list has it", len(run.faults), 0, "", run.faults[:20])
    yield at_least("tests run, of both", ran, least, "")
