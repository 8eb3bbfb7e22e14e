"""One try of one job: its work, a watch beside it, and what becomes of both.

The watch tells the queue that the worker lives, writes down how far the work is, and ends it when it is no longer
wanted here. Errors of the work are looked at, never caught: whatever it raises is a failed try with a sentence, so a
job that breaks in an unforeseen way is given up after its last try like any other.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from blockstore.clock import monotonic
from catalog.blocking import to_its_end
from catalog.jobs import steps
from catalog.jobs.context import JobContext
from catalog.jobs.failures import as_told, in_full, is_thought_of
from catalog.model.errors import CatalogError
from catalog.model.job import ClaimLost, JobCancelled, JobFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.jobs.kinds import Kind
    from catalog.jobs.steps import Effect
    from catalog.model.job import Claim
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between two looks for due jobs, between two looks at a running one, between two signs of life."""

    poll: float = 1.0
    look: float = 1.0
    hear: float = 5.0


class _End(Enum):
    """Why a watch ended the work."""

    LOST = auto()
    CANCELLED = auto()
    STOPPED = auto()


class RunningJob:
    """A claimed job at work; `run` returns when it is settled, `stop` makes it give the job back."""

    def __init__(self, services: Services, kind: Kind, claim: Claim, task: Task, pace: Pace) -> None:
        self._services = services
        self._kind = kind
        self._claim = claim
        self._pace = pace
        self.owner = task.owner or ""
        self._context = JobContext(services, task, claim, is_last=kind.retries.pause(claim.attempt) is None)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End the work soon; the job will be claimed again."""
        self._stopped.set()

    async def run(self) -> None:
        """Do the work and settle it. A catalog that cannot be written leaves the claim to the next sweep.

        Whoever took the claim has put it into the services' `claims`; it goes out of them here.
        """
        try:
            work = asyncio.ensure_future(self._kind.run(self._context))
            watch = asyncio.create_task(self._watch())
            try:
                await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                work.cancel()
                watch.cancel()
                await to_its_end(asyncio.wait({work, watch}))
            await self._settle(work, watch)
        except CatalogError as error:
            log.warning("job %s is settled by the next sweep: %s", self._claim.job_id, error)
        except ClaimLost as lost:
            log.info("a job's work is dropped: %s", lost)
        finally:
            self._context.let_go()
            self._services.claims.discard(self._claim.id)

    async def _watch(self) -> _End:
        """Give a reason to end the work, or nothing for as long as there is none."""
        shown, heard = 0, monotonic()
        while True:
            try:
                async with asyncio.timeout(self._pace.look):
                    await self._stopped.wait()
            except TimeoutError:
                pass
            else:
                return _End.STOPPED
            try:
                if await self._services.database.read(lambda uow: uow.jobs.is_cancelled(self._claim)):
                    return _End.CANCELLED
                progress = self._context.progress
                if progress != shown or monotonic() - heard >= self._pace.hear:
                    await self._move(progress, self._context.message)
                    shown, heard = progress, monotonic()
            except ClaimLost:
                return _End.LOST
            except CatalogError as error:
                log.warning("job %s cannot tell how far it is: %s", self._claim.job_id, error)

    async def _move(self, progress: int, message: str) -> None:
        now = self._services.clock()
        told = message or "Begun."
        await self._services.database.write(lambda uow: steps.move(uow, self._claim, progress, told, at=now))

    async def _settle(self, work: asyncio.Future[Effect], watch: asyncio.Task[_End]) -> None:
        if not work.cancelled():
            error = work.exception()
            await (self._succeed(work.result()) if error is None else self._fail(error))
            return
        match _End.STOPPED if watch.cancelled() else watch.result():
            case _End.LOST:
                log.info("job %s went to another worker", self._claim.job_id)
            case _End.CANCELLED:
                await self._cancelled("asked for while it ran.")
            case _End.STOPPED:
                await self._write(lambda uow: steps.release(uow, self._claim, at=self._services.clock()))
                log.info("job %s is given back", self._claim.job_id)

    async def _succeed(self, effect: Effect) -> None:
        def end(uow: UnitOfWork) -> None:
            steps.succeed(uow, self._claim, effect, at=self._services.clock())

        # An effect that breaks is a failed try, too; it has changed nothing.
        [error] = await asyncio.gather(self._write(end), return_exceptions=True)
        if error is None:
            log.info("job %s (%s) is done", self._claim.job_id, self._claim.kind)
            return
        # Only after these it is certain that nothing was changed; after an error of the catalog it is not.
        if isinstance(error, JobCancelled | ClaimLost):
            self._context.undo()
        await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        if isinstance(error, ClaimLost):
            raise error
        if isinstance(error, JobCancelled):
            await self._cancelled(str(error))
            return
        retries = None if isinstance(error, JobFailed) else self._kind.retries
        whole, told = in_full(error), as_told(error)
        trace = None if is_thought_of(error) else error
        log.warning("try %d of job %s failed: %s", self._claim.attempt, self._claim.job_id, whole, exc_info=trace)
        more, now = None if whole == told else whole, self._services.clock()
        await self._write(lambda uow: steps.fail(uow, self._claim, told, retries=retries, at=now, whole=more))

    async def _cancelled(self, reason: str) -> None:
        now = self._services.clock()
        await self._write(lambda uow: steps.end_cancelled(uow, self._claim, reason, at=now))
        log.info("job %s is cancelled: %s", self._claim.job_id, reason)

    async def _write(self, step: Callable[[UnitOfWork], None]) -> None:
        # To its end: what the job holds must not be let go while a step may still name it.
        await to_its_end(self._services.database.write(step))
