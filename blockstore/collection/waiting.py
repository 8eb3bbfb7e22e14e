"""Whom a collection waits for: writers whose lease is open after the last row was condemned, and for nobody else.

A lease that is opened later belongs to a writer whose look-ups see every condemned row as missing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.leases.flock import held_files, holder, is_held

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from blockstore.progress import Progress

USUAL_WAIT: Final = 60.0
"""Seconds; a generation lasts two, a slow disk makes it ten."""
_PAUSE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Awaited:
    """A writer that a collection waited for in vain: its process, what that is for, and since when it writes (UTC)."""

    process: int
    purpose: str
    since: datetime

    def __str__(self) -> str:
        return f"process {self.process} ({self.purpose}), which has been writing since {self.since:%Y-%m-%d %H:%M:%S}"


def wait_for_leases(store: BareStore, seconds: float, progress: Progress) -> Sequence[Awaited]:
    """Wait until all leases that are open now are closed; gives those that are not after so many seconds."""
    left = held_files(store.data.folder("leases"))
    until = clock.monotonic() + seconds
    total = len(left)
    progress.begin("wait", total)
    while left and clock.monotonic() < until:
        time.sleep(_PAUSE)
        left = [path for path in left if is_held(path)]
        progress.moved(total - len(left))
    return tuple(awaited for path in left for awaited in _told(path, store.data.folder("processes")))


def _told(lease: Path, processes: Path) -> list[Awaited]:
    try:
        since = datetime.fromtimestamp(lease.stat().st_mtime, UTC)
    except FileNotFoundError:
        # Closed this very moment.
        return []
    process, _, purpose = holder(lease).partition(" ")
    owners = [holder(path).partition(" ") for path in held_files(processes)]
    named = [what for number, _, what in owners if number == process]
    return [Awaited(int(process or 0), named[0] if named else purpose, since)]
