"""The worker: claims jobs and runs so many of them at once, until it is stopped.

Each lane has its own places, and looks for its own jobs, so that no number of slow ones keeps a quick one waiting. It
wakes by the bell for jobs of its own process, and by a poll that only reads for those of others: often behind the
last job, more and more seldom after that. What dead workers left is put back by the sweep, not here
(`catalog/usecases/tasks.py`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from blockstore import names
from catalog.jobs import steps
from catalog.jobs.kinds import KINDS
from catalog.jobs.running import Pace, RunningJob
from catalog.model.errors import CatalogError
from catalog.model.lane import Lane, crowding

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from catalog.jobs.kinds import Kind
    from catalog.model.job import Claim
    from catalog.model.lane import Places
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)

_CLOSER: Final = 32
"""So much shorter is the first pause after a job."""


class Worker:
    """Runs up to `at_once` jobs of these kinds; on the loop that `run` is called on, the CPU work elsewhere."""

    def __init__(
        self,
        services: Services,
        *,
        at_once: Places,
        kinds: Mapping[str, Kind] = KINDS,
        pace: Pace | None = None,
    ) -> None:
        self._lanes = [
            _LaneAtWork(services, lane, at_once.of(lane), kinds, pace or Pace()) for lane in Lane if at_once.of(lane)
        ]

    def stop(self) -> None:
        """Claim nothing more; `run` then ends."""
        for lane in self._lanes:
            lane.stop()

    async def run(self, *, grace: float) -> None:
        """Work until `stop`; what runs then may go on for `grace` seconds, and is put back, uncounted, after that."""
        running = [asyncio.create_task(lane.run(grace=grace)) for lane in self._lanes]
        try:
            await asyncio.gather(*running)
        finally:
            for lane in running:
                lane.cancel()
            await asyncio.gather(*running, return_exceptions=True)


class _LaneAtWork:
    """One lane of a worker."""

    def __init__(self, services: Services, lane: Lane, places: int, kinds: Mapping[str, Kind], pace: Pace) -> None:
        self._services = services
        self._lane = lane
        self._places = places
        self._kinds = kinds
        self._pace = pace
        self._wake = asyncio.Event()
        self._stopping = False
        self._busy = False  # the last look for a job found one
        self._rested = 0.0  # seconds since there was something to do
        self._running: dict[asyncio.Task[None], RunningJob] = {}

    def stop(self) -> None:
        """Claim nothing more; `run` then ends."""
        self._stopping = True
        self._wake.set()

    async def run(self, *, grace: float) -> None:
        """Work until `stop`; what runs then may go on for `grace` seconds, and is put back, uncounted, after that."""
        self._services.bell.listen(self._wake)
        try:
            while not self._stopping:
                self._wake.clear()
                await self._begin_what_is_due()
                await self._rest()
        finally:
            self._services.bell.leave(self._wake)
            await self._wind_down(grace)

    async def _begin_what_is_due(self) -> None:
        try:
            while len(self._running) < self._places and not self._stopping:
                taken = await self._claim()
                self._busy = taken is not None
                if taken is None:
                    return
                self._rested = 0.0
                self._begin(*taken)
        except CatalogError as error:
            log.warning("no job can be claimed, next try in %g s: %s", self._pace.poll, error)

    async def _claim(self) -> tuple[Claim, Task] | None:
        services, kinds, lane, but_of = self._services, self._kinds, self._lane, self._crowding()

        def is_due(uow: UnitOfWork) -> bool:
            return uow.jobs.is_due(kinds, at=services.clock(), lane=lane, but_of=but_of)

        # Where there was one there mostly is another, and claiming looks itself.
        if not self._busy and not await services.database.read(is_due):
            return None
        process, claim_id = services.blocks.process, names.new_name().hex()
        taken: tuple[Claim, Task] | None = None
        # From before it is recorded: a sweep that sees it in between would take it for left behind.
        services.claims.add(claim_id)
        try:
            taken = await services.database.write(
                lambda uow: steps.claim(uow, claim_id, process, kinds, at=services.clock(), lane=lane, but_of=but_of)
            )
        finally:
            if taken is None:
                services.claims.discard(claim_id)
        return taken

    def _crowding(self) -> Collection[str]:
        if self._lane is Lane.QUICK:
            return ()
        return crowding([job.owner for job in self._running.values()], self._places)

    def _begin(self, claim: Claim, task: Task) -> None:
        log.info("job %s (%s) begins, try %d", claim.job_id, claim.kind, claim.attempt)
        job = RunningJob(self._services, self._kinds[claim.kind], claim, task, self._pace)
        running = asyncio.create_task(job.run())
        self._running[running] = job
        running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        del self._running[running]
        self._wake.set()
        if not running.cancelled() and (error := running.exception()) is not None:
            log.error("a job ended with a fault of ours; the sweep puts it back", exc_info=error)

    async def _rest(self) -> None:
        # Where jobs come, others follow: looks are close together then, and each pause is as long as all before it.
        pause = min(self._pace.poll, max(self._pace.poll / _CLOSER, self._rested))
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            self._rested += pause

    async def _wind_down(self, grace: float) -> None:
        if self._running:
            await asyncio.wait(set(self._running), timeout=grace)
        for job in self._running.values():
            job.stop()
        if self._running:
            await asyncio.wait(set(self._running))
