"""Whether this process can do its work now: what a load balancer or a service manager asks before it sends requests.

A check that cannot be made in time has failed. Nobody can make the checks cost anything by asking often: each is made
once at a time, and its outcome is good for a second. What is told names checks and processes, never files or values:
whoever may come in at all may ask.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi.disk_space import disk_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from blockstore.index.lock_owner import Process
    from catalog.usecases.services import Services
    from httpapi.identity.contract import Distant

_log = logging.getLogger("drystone.health")
PATIENCE: Final = 2.0
"""Seconds that a check waits for its answer."""
INDEX_PATIENCE: Final = 5.0
"""Seconds that a change of the index may take: it holds the write lock for 50 ms, more only on a very slow disk."""
FRESH: Final = 1.0
_NOBODY: Final = "0" * 36


class State(StrEnum):
    """A check's outcome; `degraded` wants somebody's attention and is no reason to send requests elsewhere."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One check, with a sentence unless all is well."""

    name: str
    state: State = State.OK
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All checks."""

    checks: Sequence[Check]

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return all(check.state is not State.FAILED for check in self.checks)


@dataclass(frozen=True, slots=True)
class Watched:
    """What can be looked at of a store on disk: its folder, and how its index's lock is doing (seconds, who)."""

    data: Path
    index_wait: Callable[[], float]
    index_holders: Callable[[], Sequence[Process]]


class _Probe:
    """A step that is made once at a time: who asks while it runs waits for the same one."""

    def __init__(self, step: Callable[[], Awaitable[object]]) -> None:
        self._step = step
        self._running: asyncio.Future[object] | None = None
        self._began = 0.0

    async def outcome(self) -> BaseException | float | None:
        """None when it succeeded, its error, or the seconds that it has been running without an answer."""
        if self._running is None or self._running.done():
            self._began = monotonic()
            self._running = asyncio.ensure_future(self._step())
        done, _ = await asyncio.wait({self._running}, timeout=PATIENCE)
        return self._running.exception() if done else monotonic() - self._began


class Health:
    """The checks of one process; `check` belongs to its loop's thread."""

    def __init__(self, services: Services, watched: Watched | None = None, identity: Distant | None = None) -> None:
        self._watched = watched
        self._identity = identity
        self._asking = _Probe(self._ask_identity)
        self._reading = _Probe(lambda: services.database.read(lambda uow: uow.images.get(_NOBODY)))
        # Begins a transaction, which takes the write lock, and writes nothing: no sync follows.
        self._writing = _Probe(lambda: services.database.write(lambda _: None))
        self._disk = _Probe(self._look_at_disk)
        self._nearly_full = False
        self._last: Sequence[Check] = ()
        self._looked_at = -FRESH
        self._looking = asyncio.Lock()

    async def check(self, *, stopping: bool) -> Report:
        """How things are, at most a second ago; `stopping` is always of now."""
        async with self._looking:
            if monotonic() - self._looked_at >= FRESH:
                self._last = await asyncio.gather(
                    self._catalog(), self._catalog_lock(), self._index(), self._space(), *self._callers()
                )
                self._looked_at = monotonic()
        serving = _failed("serving", "The server is stopping.") if stopping else Check("serving")
        return Report((serving, *self._last))

    async def _catalog(self) -> Check:
        outcome = await self._reading.outcome()
        if isinstance(outcome, float):
            return _failed("catalog", f"The catalog has not answered a read for {outcome:.0f} s.")
        return _explained("catalog", "The catalog cannot be read", outcome)

    async def _catalog_lock(self) -> Check:
        outcome = await self._writing.outcome()
        if isinstance(outcome, float):
            return _failed(
                "catalog-lock",
                f"The catalog could not be written for {outcome:.0f} s: another process that uses this data directory "
                "keeps it locked.",
            )
        return _explained("catalog-lock", "The catalog cannot be written", outcome)

    async def _index(self) -> Check:
        waited = 0.0 if self._watched is None else self._watched.index_wait()
        if self._watched is None or waited < INDEX_PATIENCE:
            return Check("index")
        holders = await asyncio.to_thread(self._watched.index_holders)
        return _failed(
            "index", f"The index has not been changed for {waited:.0f} s; its write lock is held by {_one_of(holders)}."
        )

    async def _space(self) -> Check:
        if self._watched is None:
            return Check("disk")
        outcome = await self._disk.outcome()
        if isinstance(outcome, float):
            return _failed("disk", f"The data directory's disk has not answered for {outcome:.0f} s.")
        if outcome is None and self._nearly_full:
            return Check("disk", State.DEGRADED, "The data directory's disk is nearly full: make space.")
        return _explained("disk", "The data directory's disk cannot be looked at", outcome)

    def _callers(self) -> Sequence[Awaitable[Check]]:
        return () if self._identity is None else (self._known(),)

    async def _known(self) -> Check:
        """Degraded, not failed: callers who are remembered go on, and elsewhere it would be no better."""
        if await self._asking.outcome() is None:
            return Check("identity")
        return Check("identity", State.DEGRADED, "Who calls cannot be asked; the log says why.")

    async def _ask_identity(self) -> None:
        """Costs nothing while all is well: then requests have asked."""
        if self._identity is not None and self._identity.trouble:
            await self._identity.check()

    async def _look_at_disk(self) -> None:
        assert self._watched is not None
        self._nearly_full = (await asyncio.to_thread(disk_of, self._watched.data)).nearly_full


def _failed(name: str, detail: str) -> Check:
    return Check(name, State.FAILED, detail)


def _explained(name: str, what: str, error: BaseException | None) -> Check:
    if error is None:
        return Check(name)
    # What the error says may name files: that is for the log.
    _log.warning("%s: %s", what, error)
    return _failed(name, f"{what}; the log says why.")


def _one_of(holders: Sequence[Process]) -> str:
    told = ", ".join(str(holder) for holder in holders) or "a process that is not known here"
    return told if len(holders) < 2 else f"one of {told}"
