"""Tasks as callers see them, and the sweep after workers that died."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from catalog import policy
from catalog.jobs import steps
from catalog.jobs.kinds import KINDS
from catalog.model.errors import Conflict, Forbidden, Invalid, NotFound
from catalog.model.job import ClaimLost, Retries
from catalog.model.task import TaskPage
from catalog.usecases.access import load_visible
from catalog.usecases.judging import judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.model.caller import Caller
    from catalog.model.job import HeldClaim
    from catalog.model.task import Task, TaskQuery, TaskStatus
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)

FROZEN: Final = timedelta(seconds=20)
"""A worker that was not heard of for so long stands still; it says something every five seconds."""
MOST_OF_IMAGE: Final = 1000
"""So many of an image's tasks are told, the last ones, whole: there are few unless somebody asks and takes back."""


async def show(services: Services, caller: Caller, task_id: str) -> Task:
    """One task. Raises NotFound when it is unknown or another project's."""
    return await services.database.read(lambda uow: _load(uow, caller, task_id))


async def list_tasks(services: Services, caller: Caller, query: TaskQuery) -> TaskPage:
    """One page of the caller's project's tasks, of all for an admin. Raises Forbidden, Invalid for a bad marker."""
    if not policy.may_list_tasks(caller):
        raise Forbidden("You are not permitted to list tasks; by default that needs the role reader.")

    def page(uow: UnitOfWork) -> TaskPage:
        after = None if query.marker is None else _marker(uow, caller, query.marker)
        owner = None if caller.is_admin else caller.project
        if not policy.judges_lists(caller, "get_task"):
            return uow.tasks.page(owner, query, after)

        def page_behind(last: Task | None, size: int) -> tuple[Sequence[Task], bool]:
            found = uow.tasks.page(owner, replace(query, limit=size), last)
            return found.tasks, found.more

        return TaskPage(*judged(page_behind, lambda task: policy.task_visible(caller, task), after, query.limit))

    return await services.database.read(page)


async def of_image(services: Services, caller: Caller, image_id: str) -> Sequence[Task]:
    """Of an image's last tasks those that the caller may know of, newest first; NotFound for whoever doesn't see it.

    Who sees an image that is another project's is told nothing of who works on it, and of what went wrong.
    """

    def find(uow: UnitOfWork) -> Sequence[Task]:
        found = uow.tasks.of_image(load_visible(uow, caller, image_id).id, MOST_OF_IMAGE)
        return [task for task in found if policy.task_visible(caller, task)]

    return await services.database.read(find)


async def cancel(services: Services, caller: Caller, task_id: str) -> Task:
    """End a task: a waiting one at once, a running one within a second or so. Raises NotFound, Forbidden, Conflict."""

    def end(uow: UnitOfWork) -> Task:
        task = _load(uow, caller, task_id)
        if not policy.may_cancel(caller, task):
            raise Forbidden(
                f"You are not permitted to cancel task {task.id}; its owner's members and admins are, by default."
            )
        if task.is_over:
            raise Conflict(f"Task {task.id} is over ({task.status.value}) and cannot be cancelled.")
        return steps.cancel(uow, task, f"asked for by {caller.user}.", at=services.clock())

    return await services.database.write(end)


async def counts(services: Services) -> Mapping[TaskStatus, int]:
    """How many tasks stand where: what waits, what runs, and what ended within the last two days."""
    return await services.database.read(lambda uow: uow.tasks.counts())


async def sweep(services: Services) -> int:
    """Put back the jobs of workers that died or stand still, and forget expired tasks; how many jobs were put back.

    Raises CatalogError when the catalog can't do it now.
    """
    now = services.clock()
    left = [held for held in await services.database.read(lambda uow: uow.jobs.claims()) if _is_left(services, held)]
    count = 0
    for held in left:
        if await _take_back(services, held):
            count += 1
            log.warning("job %s is put back: its worker died or stands still", held.claim.job_id)
    if await services.database.read(lambda uow: uow.tasks.any_expired(at=now)):
        await services.database.write(lambda uow: uow.tasks.remove_expired(at=now))
    if count:
        services.bell.ring()
    return count


async def _take_back(services: Services, left: HeldClaim) -> bool:
    """Put one back; False when it was settled or taken back meanwhile."""
    # A kind that this version does not know is put back for one that does.
    kind = KINDS.get(left.claim.kind)
    retries, now = kind.retries if kind else Retries(), services.clock()
    try:
        await services.database.write(lambda uow: steps.take_back(uow, left, retries=retries, at=now))
    except ClaimLost:
        return False
    return True


def _is_left(services: Services, held: HeldClaim) -> bool:
    claim = held.claim
    if claim.process == services.blocks.process:
        return claim.id not in services.claims
    return not services.blocks.is_alive(claim.process) or services.clock() - held.heard_at > FROZEN


def _load(uow: UnitOfWork, caller: Caller, task_id: str) -> Task:
    task = uow.tasks.get(task_id.lower())
    if task is None or not policy.task_visible(caller, task):
        raise NotFound(f"No task found with ID {task_id[:80]}.")
    return task


def _marker(uow: UnitOfWork, caller: Caller, task_id: str) -> Task:
    try:
        return _load(uow, caller, task_id)
    except NotFound:
        raise Invalid(f"The marker {task_id[:80]!r} is no task that you may see; begin the list anew.") from None
