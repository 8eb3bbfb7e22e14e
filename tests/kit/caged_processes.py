"""Which processes work in a room: what a test looks at to see that none is left."""

from __future__ import annotations

import time
from pathlib import Path


def working_in(room: Path) -> list[int]:
    """The processes whose current directory this is; those that have ended, and wait to be noticed, have none."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == room:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def gone_from(room: Path, seconds: float = 5.0) -> bool:
    """Whether all of them are gone within this time."""
    until = time.monotonic() + seconds
    while working_in(room):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
