"""Tasks in SQL: keep, list, forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, asc, bindparam, delete, desc, func, insert, or_, select, update

from catalog.model.task import Task, TaskPage, TaskStatus
from catalog.sql.job_tables import tasks
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from catalog.model.task import TaskQuery

_NOT_OVER: Final = (TaskStatus.PENDING.value, TaskStatus.PROCESSING.value)
# Made once: to make one takes longer than to run it, and each job needs them four times.
_ONE: Final = select(tasks).where(tasks.c.id == bindparam("of_task"))
_SAVE: Final = update(tasks).where(tasks.c.id == bindparam("of_task"))


class SqlTasks:
    """The port `Tasks` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, task: Task) -> None:
        """Keep a new task."""
        self._connection.execute(insert(tasks), _row_of(task))

    def get(self, task_id: str) -> Task | None:
        """The task, or None."""
        row = self._connection.execute(_ONE, {"of_task": task_id}).first()
        return None if row is None else _task_of(row)

    def save(self, task: Task) -> None:
        """Write it back."""
        self._connection.execute(_SAVE, {"of_task": task.id} | _row_of(task))

    def of_image(self, image_id: str, limit: int) -> Sequence[Task]:
        """The image's last tasks, newest first."""
        found = select(tasks).where(tasks.c.image_id == image_id).limit(limit)
        rows = self._connection.execute(found.order_by(desc(tasks.c.created_at), desc(tasks.c.id)))
        return [_task_of(row) for row in rows]

    def under_way(self, image_id: str) -> Sequence[Task]:
        """The image's tasks that are not over."""
        found = select(tasks).where(tasks.c.image_id == image_id, tasks.c.status.in_(_NOT_OVER))
        return [_task_of(row) for row in self._connection.execute(found)]

    def own_pending(self, kind: str, image_id: str) -> str | None:
        """The service's own task of this kind on the image that waits."""
        own = select(tasks.c.id).where(tasks.c.status == TaskStatus.PENDING.value, tasks.c.type == kind)
        of_nobody = own.where(tasks.c.owner.is_(None), tasks.c.image_id.is_(None))
        found = of_nobody.where(tasks.c.input["image_id"].as_string() == image_id).limit(1)
        return self._connection.execute(found).scalar()

    def page(self, owner: str | None, query: TaskQuery, after: Task | None) -> TaskPage:
        """One page, as one statement that begins behind `after` by its values."""
        if query.limit == 0:
            return TaskPage(tasks=(), more=False)
        found = select(tasks)
        if owner is not None:
            found = found.where(tasks.c.owner == owner)
        if query.status is not None:
            found = found.where(tasks.c.status == query.status.value)
        if query.type is not None:
            found = found.where(tasks.c.type == query.type)
        if after is not None:
            found = found.where(_behind(after, query))
        turn = desc if query.descending else asc
        ordered = found.order_by(turn(_key(query.sort_key)), turn(tasks.c.id)).limit(query.limit + 1)
        rows = self._connection.execute(ordered).all()
        return TaskPage(tuple(_task_of(row) for row in rows[: query.limit]), more=len(rows) > query.limit)

    def counts(self) -> Mapping[TaskStatus, int]:
        """How many stand where: read off an index."""
        rows = self._connection.execute(select(tasks.c.status, func.count()).group_by(tasks.c.status))
        found: dict[str, int] = {status: number for status, number in rows}  # noqa: C416 - a Row is no plain tuple
        return {status: found.get(status.value, 0) for status in TaskStatus}

    def any_expired(self, *, at: datetime) -> bool:
        """Whether something is kept long enough."""
        return self._connection.execute(select(tasks.c.id).where(_expired(at)).limit(1)).first() is not None

    def remove_expired(self, *, at: datetime) -> int:
        """Forget what is kept long enough."""
        return self._connection.execute(delete(tasks).where(_expired(at))).rowcount


def _expired(at: datetime) -> ColumnElement[bool]:
    return and_(tasks.c.expires_at <= to_us(at))


def _key(name: str) -> ColumnElement[Any]:
    # A task that is not over does not expire yet: it stands after all that do.
    return func.coalesce(tasks.c.expires_at, 2**62) if name == "expires_at" else tasks.c[name].expression


def _behind(after: Task, query: TaskQuery) -> ColumnElement[bool]:
    key, last = _key(query.sort_key), _row_of(after)[query.sort_key]
    if query.sort_key == "expires_at" and last is None:
        last = 2**62
    if query.descending:
        return or_(key < last, and_(key == last, tasks.c.id < after.id))
    return or_(key > last, and_(key == last, tasks.c.id > after.id))


def _row_of(task: Task) -> dict[str, object]:
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status.value,
        "owner": task.owner,
        "image_id": task.image_id,
        "user_id": task.user,
        "request_id": task.request_id,
        "input": dict(task.input),
        "result": None if task.result is None else dict(task.result),
        "message": task.message,
        "whole_message": task.whole_message,
        "progress": task.progress,
        "attempts": task.attempts,
        "created_at": to_us(task.created_at),
        "updated_at": to_us(task.updated_at),
        "expires_at": None if task.expires_at is None else to_us(task.expires_at),
    }


def _task_of(row: Row[*tuple[Any, ...]]) -> Task:
    return Task(
        id=row.id,
        type=row.type,
        status=TaskStatus(row.status),
        owner=row.owner,
        image_id=row.image_id,
        user=row.user_id,
        request_id=row.request_id,
        input=row.input,
        result=row.result,
        message=row.message,
        whole_message=row.whole_message,
        progress=row.progress,
        attempts=row.attempts,
        created_at=from_us(row.created_at),
        updated_at=from_us(row.updated_at),
        expires_at=None if row.expires_at is None else from_us(row.expires_at),
    )
