"""Workers that die at a step of theirs: what they would have done afterwards is never done, what they did stays."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from catalog.jobs import steps
from catalog.jobs.context import JobContext
from catalog.jobs.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

T = TypeVar("T")


class Killed(BaseException):
    """The process died here."""


class Life:
    """Ends at the `last` step, before it or after it; nothing is done any more then."""

    def __init__(self, last: int, *, before: bool) -> None:
        self._left = last
        self._before = before
        self.is_over = False

    def begin(self) -> None:
        self._left -= 1
        if self.is_over or (self._left == 0 and self._before):
            self.is_over = True
            raise Killed

    def end(self) -> None:
        if self._left <= 0:
            self.is_over = True
            raise Killed


class MortalDatabase:
    def __init__(self, services: Services, life: Life) -> None:
        self._database = services.database
        self._life = life

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        if self._life.is_over:
            raise Killed
        return await self._database.read(step)

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        self._life.begin()
        found = await self._database.write(step)
        self._life.end()
        return found


async def dies(services: Services, blocks: MemoryBlocks, task: Task, life: Life, process: str) -> None:
    """Another process claims the job, and dies at some step of it, or in the middle of its end."""
    claimed = await services.database.write(
        lambda uow: steps.claim(uow, process, process, [task.type], at=services.clock())
    )
    assert claimed is not None
    claim, running = claimed
    mortal = replace(services, database=MortalDatabase(services, life))
    # The double has one process; what the dead one recorded bears its name.
    blocks.process, own = process, blocks.process
    with suppress(Killed):
        effect = await KINDS[task.type].run(JobContext(mortal, running, claim))
        await mortal.database.write(lambda uow: steps.succeed(uow, claim, effect, at=services.clock()))
    blocks.process = own
    blocks.dead.add(process)
