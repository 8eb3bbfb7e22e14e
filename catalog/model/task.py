"""The task: what users see of work that goes on after their request was answered.

A task is a record; the work itself is a job (`job.py`) with the same id, which goes when the work is over, while the
task stays for two days. Statuses are the Images API's, which has no word for "cancelled": that is a failure whose
message says so.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

HASH: Final = "hash"
"""The type of the tasks that compute an image's hashes after its upload."""

COALESCE: Final = "coalesce"
"""The type of the tasks that give an image a whole manifest instead of a chain."""

LOCATION_IMPORT: Final = "location_import"
"""The type of the tasks that make an image of what lies at a URL."""

PUT_BACK: Final = "put_back"
"""The type of the service's own tasks that copy an image into a store again that has lost its copy."""

KEPT: Final = timedelta(hours=48)
"""How long a task is kept after its end."""

TASK_SORT_KEYS: Final = frozenset({"id", "type", "status", "created_at", "updated_at", "expires_at"})
"""The attributes that a listing of tasks can be ordered by."""


class TaskStatus(StrEnum):
    """Where a task stands: it waits (for its first try, or another one), is worked on, or is over."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Requester:
    """On whose behalf a task is made: the user and the id of the request, where they are known."""

    user: str | None = None
    request_id: str | None = None


NOBODY: Final = Requester()
"""The service itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task; `progress` is a percentage, `attempts` how often its work was begun, times are UTC.

    `owner` is the project whose members may see it; `input` and `result` are JSON objects. `whole_message` is what
    administrators are told in the place of `message`, where that leaves out what is the operator's to know.
    """

    id: str
    type: str
    owner: str | None
    created_at: datetime
    updated_at: datetime
    status: TaskStatus = TaskStatus.PENDING
    image_id: str | None = None
    user: str | None = None
    request_id: str | None = None
    input: Mapping[str, object] = field(default_factory=dict)
    result: Mapping[str, object] | None = None
    message: str = ""
    whole_message: str | None = None
    progress: int = 0
    attempts: int = 0
    expires_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing follows any more."""
        return self.status in {TaskStatus.SUCCESS, TaskStatus.FAILURE}

    def begun(self, attempt: int, *, at: datetime) -> Task:
        """A worker took it up, for the `attempt`th time; progress starts over."""
        now = self._with(TaskStatus.PROCESSING, "Begun.", at=at)
        return replace(now, attempts=attempt, progress=0)

    def moved(self, progress: int, message: str, *, at: datetime) -> Task:
        """The work went on."""
        return replace(self._with(self.status, message, at=at), progress=progress)

    def waiting(self, message: str, *, at: datetime, whole: str | None = None) -> Task:
        """Another try follows; the message says why, and `whole` more of it, to administrators."""
        return replace(self._with(TaskStatus.PENDING, message, at=at, whole=whole), progress=0)

    def succeeded(self, result: Mapping[str, object], message: str, *, at: datetime) -> Task:
        """The work is done."""
        done = self._with(TaskStatus.SUCCESS, message, at=at)
        return replace(done, progress=100, result=dict(result), expires_at=at + KEPT)

    def failed(self, message: str, *, at: datetime, whole: str | None = None) -> Task:
        """The work is given up, or was cancelled; `whole` as when it waits."""
        return replace(self._with(TaskStatus.FAILURE, message, at=at, whole=whole), expires_at=at + KEPT)

    def _with(self, status: TaskStatus, message: str, *, at: datetime, whole: str | None = None) -> Task:
        return replace(self, status=status, message=message, whole_message=whole, updated_at=at)


def image_task(kind: str, *, image_id: str, owner: str | None, by: Requester, at: datetime) -> Task:
    """A new task on an image."""
    return Task(
        id=str(uuid.uuid4()),
        type=kind,
        owner=owner,
        created_at=at,
        updated_at=at,
        image_id=image_id,
        user=by.user,
        request_id=by.request_id,
        input={"image_id": image_id},
        message="Waits for a worker.",
    )


def own_task(kind: str, *, image_id: str, at: datetime) -> Task:
    """A new task that the service gives itself, on an image; only admins see it, wherever the image is seen."""
    return Task(
        id=str(uuid.uuid4()),
        type=kind,
        owner=None,
        created_at=at,
        updated_at=at,
        input={"image_id": image_id},
        message="Waits for a worker.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """A listing's question; `marker` is the id of the last task of the page before."""

    status: TaskStatus | None = None
    type: str | None = None
    sort_key: str = "created_at"
    descending: bool = True
    marker: str | None = None
    limit: int = 25


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of a listing; `more` tells that tasks follow it."""

    tasks: tuple[Task, ...]
    more: bool
