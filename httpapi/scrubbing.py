"""When a server has its data scrubbed: on schedule, and soon after a reader has met damage; in another process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore import clock, verified_at
from blockstore.damage_met import Met
from blockstore.errors import BlockstoreError
from blockstore.names import made_at
from httpapi.background import run_verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from httpapi.settings import Settings

_log = logging.getLogger("drystone.scrub")
LOOK_SECONDS: Final = 10.0
"""Between two looks at whether there is anything to do; up to as long again, so that several servers take turns."""

MOST_PAUSES: Final = 60


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
    pause = look_seconds
    while True:
        await asyncio.sleep(pause * random.uniform(1, 2))  # noqa: S311 - no secret
        well = True
        try:
            met = watched.met()
            if met != done:
                well = await _run(watched.settings, ["--met", "", *_each("--met", met.manifests - done.manifests)])
                done = met if well else done
            elif watched.by_schedule and is_due(watched.settings, watched.store):
                well = await _run(watched.settings, [])
        except (BlockstoreError, OSError) as error:
            well = False
            _log.warning("The data cannot be scrubbed now: %s", error)
        pause = pause_after(pause, look_seconds, well=well)


def pause_after(pause: float, look_seconds: float, *, well: bool) -> float:
    """The next pause: what fails each time is tried less and less often, for a process is begun each time."""
    return look_seconds if well else min(2 * pause, MOST_PAUSES * look_seconds)


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
    """Run the verb to its end; whether it came to one by itself."""
    ended = await run_verb(settings, "scrub", "--rate", str(settings.scrub_rate), *options)
    if ended.code:
        _log.warning("Scrubbing %s ended with exit code %d; it goes on later", settings.data, ended.code)
    return not ended.code
