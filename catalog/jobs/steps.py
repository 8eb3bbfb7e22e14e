"""What happens to a task and its job together, each one a step within one transaction.

Every change of a running job names its claim and raises ClaimLost, with nothing changed, when it is held no more. Every
bad end goes through `_end_badly`, which lets go of what the job took (`releases.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from catalog.jobs.enqueueing import enqueue
from catalog.jobs.releases import let_go_of
from catalog.model.job import ClaimLost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from catalog.model.job import Claim, HeldClaim, Retries
    from catalog.model.lane import Lane
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork

__all__ = [
    "Done",
    "Effect",
    "cancel",
    "cancel_of_image",
    "change",
    "claim",
    "end_cancelled",
    "enqueue",
    "fail",
    "move",
    "release",
    "succeed",
    "take_back",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done:
    """What a job came to: the task's result and its closing sentence."""

    message: str
    result: Mapping[str, object] = field(default_factory=dict)


Effect: TypeAlias = "Callable[[UnitOfWork, datetime], Done]"
"""A job's change to the catalog, made in the transaction that ends the job: wholly and once, or not at all.

It raises JobCancelled when what it was to change is gone.
"""


def claim(
    uow: UnitOfWork,
    claim_id: str,
    process: str,
    kinds: Collection[str],
    *,
    at: datetime,
    lane: Lane | None = None,
    but_of: Collection[str] = (),
) -> tuple[Claim, Task] | None:
    """Take up the next job that is due, under a claim of this new id: its task is being processed."""
    taken = uow.jobs.claim(claim_id, process, kinds, at=at, lane=lane, but_of=but_of)
    if taken is None:
        return None
    task = uow.tasks.get(taken.job_id)
    if task is None:
        # Nobody could ever learn what became of it.
        uow.jobs.end(taken)
        return None
    task = task.begun(taken.attempt, at=at)
    uow.tasks.save(task)
    return taken, task


def move(uow: UnitOfWork, held: Claim, progress: int, message: str, *, at: datetime) -> None:
    """The worker is alive, and so far."""
    uow.jobs.hear(held, at=at)
    uow.tasks.save(_task(uow, held).moved(progress, message, at=at))


def change(uow: UnitOfWork, held: Claim, step: Callable[[UnitOfWork, datetime], T], *, at: datetime) -> T:
    """Change the catalog while the job runs: as a sign of life, so that only the claim that holds it can."""
    uow.jobs.hear(held, at=at)
    return step(uow, at)


def succeed(uow: UnitOfWork, held: Claim, effect: Effect, *, at: datetime) -> None:
    """Make the job's effect and end it."""
    uow.jobs.end(held)
    task = _task(uow, held)
    done = effect(uow, at)
    uow.tasks.save(task.succeeded(done.result, done.message, at=at))


def fail(
    uow: UnitOfWork, held: Claim, reason: str, *, retries: Retries | None, at: datetime, whole: str | None = None
) -> None:
    """The try failed, for a `reason` that is a sentence: another one follows, or none (`retries` None: at once).

    `whole` is the reason as administrators are told it, where that says more.
    """
    if uow.jobs.is_cancelled(held):
        end_cancelled(uow, held, "asked for while it ran.", at=at)
        return
    task = _task(uow, held)
    pause = None if retries is None else retries.pause(held.attempt)
    if pause is None:
        uow.jobs.end(held)
        tries = "" if retries is None else f"Given up after {held.attempt} tries: "
        _end_badly(uow, task, tries + reason, at=at, whole=None if whole is None else tries + whole)
        return
    assert retries is not None
    uow.jobs.put_back(held, run_at=at + pause, counts=True)
    tried = f"Try {held.attempt} of {retries.tries} failed, the next one follows in {pause.total_seconds():g} s: "
    uow.tasks.save(task.waiting(tried + reason, at=at, whole=None if whole is None else tried + whole))


def release(uow: UnitOfWork, held: Claim, *, at: datetime) -> None:
    """The worker stops: the job waits for another one, as if it had not been begun."""
    if uow.jobs.is_cancelled(held):
        end_cancelled(uow, held, "asked for while it ran.", at=at)
        return
    uow.jobs.put_back(held, run_at=at, counts=False)
    uow.tasks.save(_task(uow, held).waiting("Waits for a worker: the one before was stopped.", at=at))


def take_back(uow: UnitOfWork, left: HeldClaim, *, retries: Retries, at: datetime) -> None:
    """The worker died or froze: the job runs again at once, unless it has taken all its tries with it."""
    held = left.claim
    # Asked for again: that it was left is older than this transaction.
    if uow.jobs.is_cancelled(held):
        end_cancelled(uow, held, "asked for while it ran.", at=at)
    elif held.attempt >= retries.tries:
        uow.jobs.end(held)
        sentence = f"Given up after {held.attempt} tries: each time its worker died or stood still."
        _end_badly(uow, _task(uow, held), sentence, at=at)
    else:
        uow.jobs.put_back(held, run_at=at, counts=True)
        uow.tasks.save(_task(uow, held).waiting("Waits for a worker: the one before died or stood still.", at=at))


def end_cancelled(uow: UnitOfWork, held: Claim, reason: str, *, at: datetime) -> None:
    """End a running job that is not wanted any more."""
    uow.jobs.end(held)
    _end_badly(uow, _task(uow, held), f"Cancelled: {reason}", at=at)


def cancel(uow: UnitOfWork, task: Task, reason: str, *, at: datetime) -> Task:
    """End a waiting task; a running one's worker is told, and ends it within a second or so. The task as it is then."""
    if not uow.jobs.cancel(task.id):
        return task
    return _end_badly(uow, task, f"Cancelled: {reason}", at=at)


def cancel_of_image(uow: UnitOfWork, image_id: str, *, at: datetime) -> bool:
    """Cancel all that is to be done with an image that is being deleted; whether there was anything.

    What a running job took is let go at once, too, while the image is there: load it afterwards.
    """
    found = uow.tasks.under_way(image_id)
    for task in found:
        let_go_of(uow, task, at=at)
        cancel(uow, task, "the image was deleted.", at=at)
    return bool(found)


def _end_badly(uow: UnitOfWork, task: Task, message: str, *, at: datetime, whole: str | None = None) -> Task:
    let_go_of(uow, task, at=at)
    ended = task.failed(message, at=at, whole=whole)
    uow.tasks.save(ended)
    return ended


def _task(uow: UnitOfWork, held: Claim) -> Task:
    task = uow.tasks.get(held.job_id)
    if task is None:
        raise ClaimLost(f"task {held.job_id} is gone")
    return task
