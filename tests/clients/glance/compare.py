"""Plays the script on this service and says what the list of differences lacks and what it has too much.

`python -m tests.clients.glance.compare`; with `--write` the list loses what is gone, and gets what is new at its end,
without a reason, which is to be found.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.clients.glance import golden
from tests.clients.glance.differences import allowed, between, rewrite
from tests.clients.glance.ours import drystone
from tests.clients.glance.play import play
from tests.clients.glance.scenes import SCENES


def found(scene: str, room: Path) -> list[str]:
    """The differences of one scene."""
    with drystone(room) as port:
        return [str(each) for each in between(scene, golden.read(scene), play(port, SCENES[scene]))]


def report(scene: str, now: list[str]) -> list[str]:
    """What is not as the list has it, a line each: fails the test, and says what to do."""
    listed = {each for each in allowed() if each.startswith(f"{scene}: ")}
    new = [f"not listed: {each}" for each in now if each not in listed]
    return new + [f"no longer so: {each}" for each in sorted(listed - set(now))]


if __name__ == "__main__":
    everything: list[str] = []
    for name in SCENES:
        with tempfile.TemporaryDirectory() as directory:
            everything += (differences := found(name, Path(directory)))
        print(*report(name, differences), sep="\n")
    if "--write" in sys.argv:
        rewrite(everything)
