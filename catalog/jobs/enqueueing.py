"""How a job comes to be: in the transaction of what it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.job import Job

if TYPE_CHECKING:
    from datetime import datetime

    from catalog.model.lane import Lane
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork


def enqueue(
    uow: UnitOfWork,
    task: Task,
    *,
    lock: str | None = None,
    run_at: datetime | None = None,
    lane: Lane | None = None,
) -> None:
    """Keep a new task and its job; jobs on one image (the task's, or the one that is the `lock`) run one at a time.

    It runs at once, or not before `run_at`, in this lane or in that of its kind.
    """
    uow.tasks.add(task)
    due, on = run_at or task.created_at, lock or task.image_id
    uow.jobs.add(Job(id=task.id, kind=task.type, run_at=due, lock=on, owner=task.owner or "", lane=lane))
