"""When a server has its data scrubbed: on schedule, and soon after a reader has met damage; in another process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore import clock, verified_at
from blockstore.damage_met import Met
from blockstore.errors import BlockstoreError
from blockstore.names import made_at
from httpapi.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from httpapi.settings import Settings

_log = logging.getLogger("drystone.scrub")
LOOK_SECONDS: Final = 10.0
"""Between two looks at whether there is anything to do; up to as long again, so that several servers take turns."""
END_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Watched:
    """Whose data, the store's id, and what its readers have met so far. `by_schedule`: begin passes, too."""

    settings: Settings
    store: bytes
    met: Callable[[], Met]
    by_schedule: bool


@contextlib.asynccontextmanager
async def scrubbing(watched: Watched, look_seconds: float = LOOK_SECONDS) -> AsyncIterator[None]:
    """Look meanwhile; what runs at the end is ended, and the next one goes on there."""
    looking = asyncio.create_task(_look_forever(watched, look_seconds))
    try:
        yield
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


async def _look_forever(watched: Watched, look_seconds: float) -> None:
    done = Met(0, frozenset())
    while True:
        await asyncio.sleep(look_seconds * random.uniform(1, 2))  # noqa: S311 - no secret
        try:
            met = watched.met()
            if met != done:
                if await _run(watched.settings, ["--met", "", *_each("--met", met.manifests - done.manifests)]):
                    done = met
            elif watched.by_schedule and is_due(watched.settings, watched.store):
                await _run(watched.settings, [])
        except (BlockstoreError, OSError) as error:
            _log.warning("The data cannot be scrubbed now: %s", error)


def _each(option: str, values: frozenset[str]) -> list[str]:
    return [part for value in sorted(values) for part in (option, value)]


def is_due(settings: Settings, store: bytes) -> bool:
    """Whether a pass is to be begun or gone on with, and nobody is at it."""
    if not settings.scrub_every or verified_at.is_running(settings.data):
        return False
    state = verified_at.load(settings.data, store)
    # A new store has nothing to scrub yet: its time counts from its beginning, which its id tells.
    last = max(state.finished, made_at(store))
    return bool(state.began) or clock.now_us() >= last + settings.scrub_every * 1e6


async def _run(settings: Settings, options: Sequence[str]) -> bool:
    """Run the verb to its end; whether it came to one by itself. Cancelled, it ends the process."""
    environment = child_environment() | {
        "DRYSTONE_LOG_LEVEL": settings.log_level,
        "DRYSTONE_LOG_FORMAT": settings.log_format,
        "DRYSTONE_SCRUB_RATE": str(settings.scrub_rate),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "httpapi", "admin", "scrub", "--background"),
        *("--data", str(settings.data.absolute()), *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
        # Ctrl-C is the server's.
        process_group=0,
    )
    try:
        code = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await _ended(process)
        raise
    if code:
        _log.warning("Scrubbing %s ended with exit code %d; it goes on later", settings.data, code)
    return not code


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for a process that was told to end; one that reads from a dead disk is killed."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
