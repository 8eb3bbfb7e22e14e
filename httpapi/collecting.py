"""The schedule of collections: a server starts `drystone admin gc` from time to time, as a process of its own.

Of all servers of a data directory one does, the one that holds a lock; another takes it over when that ends. When the
next is due is counted from the beginning of the last one, whoever began it and however it ended: the time stands in the
data directory, so restarts change nothing. A collection that is stopped costs nothing but its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from blockstore import clock
from blockstore.collection.alone import last_begun
from blockstore.leases.flock import try_lock
from httpapi.metrics.instruments import COLLECTED_BYTES, COLLECTIONS
from httpapi.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_log = logging.getLogger("drystone.collection")
_LOCK: Final = ".schedule"
"""In `processes/`, where names with a dot are no processes'."""
LOOK_SECONDS: Final = 30.0
"""Between two looks at whether one is due, or the lock is free."""
FIRST_SECONDS: Final = 3600.0
"""Where none was ever begun: so long after the server's start, at most."""
JITTER: Final = 0.1
"""The share of the time between two that is left to chance, so that many servers on one disk do not begin at once."""
AWAITS: Final = 3
"""What `admin gc` ends with when it waited for a writer in vain."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A collection of `data` every so many seconds (0: never), which reads at most `rate` bytes a second.

    `keep_deleted` are the seconds for which deleted images are kept; None leaves that to the child's own settings.
    """

    data: Path
    every: float
    rate: int | None = None
    keep_deleted: float | None = None


@contextlib.asynccontextmanager
async def collecting(schedule: Schedule) -> AsyncIterator[None]:
    """Collect on schedule meanwhile; one that runs at the end is stopped."""
    if not schedule.every:
        yield
        return
    task = asyncio.create_task(collect_forever(schedule))
    try:
        yield
    finally:
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Exception):
            _log.error("The schedule of collections had ended with an error", exc_info=outcome)


async def collect_forever(schedule: Schedule) -> None:
    """Hold the lock, and collect whenever it is time, until cancelled."""
    fd = os.open(schedule.data / "processes" / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Nobody tells when a lock is free, or that somebody has collected by hand.
        while not try_lock(fd):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        due = clock.now().timestamp() + min(FIRST_SECONDS, schedule.every)
        if last_begun(schedule.data) is not None:
            due = 0.0
        while True:
            extra = random.uniform(0, JITTER * schedule.every)  # noqa: S311 - spreads load, keeps no secret
            while (left := max(due, _due(schedule)) + extra - clock.now().timestamp()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(left, LOOK_SECONDS))
            # One that could not even begin is not tried again at once.
            due = clock.now().timestamp() + schedule.every
            await collect_once(schedule)
    finally:
        os.close(fd)


def _due(schedule: Schedule) -> float:
    """When the next one may begin, but for chance; seconds since 1970."""
    return (last_begun(schedule.data) or 0.0) + schedule.every


async def collect_once(schedule: Schedule) -> None:
    """One collection, to its end; tells log and metrics of it."""
    rate = [] if schedule.rate is None else ["--rate", str(schedule.rate)]
    # What the server was told, perhaps by a file that the child does not know.
    keep = [] if schedule.keep_deleted is None else ["--keep-deleted", f"{schedule.keep_deleted:.6f}"]
    arguments = ["admin", "gc", "--background", "--json", "--data", str(schedule.data), *rate, *keep]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "httpapi",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    _tell(process.returncode, out, err.decode(errors="replace"))


def _tell(code: int | None, out: bytes, err: str) -> None:
    try:
        found: dict[str, Any] = json.loads(out)
    except ValueError:
        COLLECTIONS.labels("failed").inc()
        _log.warning("A collection ended with exit code %s: %s", code, err.strip()[-2000:] or "it said nothing")
        return
    for note in found["notes"]:
        _log.warning("A collection says: %s", note)
    COLLECTED_BYTES.inc(max(0, found["freed"]))
    if code == AWAITS:
        COLLECTIONS.labels("waited").inc()
        _log.warning("A collection ended early: %s", err.strip()[-2000:])
        return
    COLLECTIONS.labels("done").inc()
    _log.info(
        "Collected in %.1f s: %d blocks forgotten, %d manifests and %d packs removed, %d rewritten, %d bytes freed",
        sum(found["seconds"].values()),
        *(found[key] for key in ("forgotten", "manifests_removed", "packs_dropped", "packs_rewritten", "freed")),
    )
