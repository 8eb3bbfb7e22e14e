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
from typing import TYPE_CHECKING, Any, Final

from blockstore import clock
from blockstore.collection.alone import last_begun
from blockstore.leases.flock import try_lock
from httpapi.background import AWAITS, run_verb
from httpapi.metrics.instruments import COLLECTED_BYTES, COLLECTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from httpapi.settings import Settings

_log = logging.getLogger("drystone.collection")
_LOCK: Final = ".schedule"
"""In `processes/`, where names with a dot are no processes'."""
LOOK_SECONDS: Final = 30.0
"""Between two looks at whether one is due, or the lock is free."""
FIRST_SECONDS: Final = 3600.0
"""Where none was ever begun: so long after the server's start, at most."""
JITTER: Final = 0.1
"""The share of the time between two that is left to chance, so that many servers on one disk do not begin at once."""


@contextlib.asynccontextmanager
async def collecting(settings: Settings) -> AsyncIterator[None]:
    """Collect on schedule meanwhile; one that runs at the end is stopped."""
    if not settings.gc_every:
        yield
        return
    task = asyncio.create_task(collect_forever(settings))
    try:
        yield
    finally:
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Exception):
            _log.error("The schedule of collections had ended with an error", exc_info=outcome)


async def collect_forever(settings: Settings) -> None:
    """Hold the lock, and collect whenever it is time, until cancelled."""
    fd = os.open(settings.data / "processes" / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Nobody tells when a lock is free, or that somebody has collected by hand.
        while not try_lock(fd):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        due = clock.now().timestamp() + min(FIRST_SECONDS, settings.gc_every)
        if last_begun(settings.data) is not None:
            due = 0.0
        while True:
            extra = random.uniform(0, JITTER * settings.gc_every)  # noqa: S311 - spreads load, keeps no secret
            while (left := max(due, _due(settings)) + extra - clock.now().timestamp()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(left, LOOK_SECONDS))
            # One that could not even begin is not tried again at once.
            due = clock.now().timestamp() + settings.gc_every
            try:
                await collect_once(settings)
            except OSError as error:
                COLLECTIONS.labels("failed").inc()
                _log.warning("No collection of %s could be started: %s", settings.data, error)
    finally:
        os.close(fd)


def _due(settings: Settings) -> float:
    """When the next one may begin, but for chance; seconds since 1970."""
    return (last_begun(settings.data) or 0.0) + settings.gc_every


async def collect_once(settings: Settings) -> None:
    """One collection, to its end; tells log and metrics of it."""
    rate = [] if settings.gc_rate is None else ["--rate", str(settings.gc_rate)]
    ended = await run_verb(settings, "gc", "--json", "--keep-deleted", f"{settings.gc_keep_deleted:.6f}", *rate)
    try:
        found: dict[str, Any] = json.loads(ended.out)
    except ValueError:
        COLLECTIONS.labels("failed").inc()
        _log.warning("A collection of %s ended with exit code %d; the next one tries again", settings.data, ended.code)
        return
    COLLECTED_BYTES.inc(max(0, found["freed"]))
    if ended.code == AWAITS:
        COLLECTIONS.labels("waited").inc()
        return
    COLLECTIONS.labels("done").inc()
    _log.info(
        "Collected in %.1f s: %d blocks forgotten, %d manifests and %d packs removed, %d rewritten, %d bytes freed",
        sum(found["seconds"].values()),
        *(found[key] for key in ("forgotten", "manifests_removed", "packs_dropped", "packs_rewritten", "freed")),
    )
