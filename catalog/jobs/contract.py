"""The queue of jobs and the records of tasks, as one transaction sees them.

Both are parts of a unit of work, so a job is there exactly if what it belongs to is, and its effect and its end are
one change. `catalog/sql/jobs.py` keeps jobs in a table of the catalog; a queue of another kind must pass the same
`tests/contracts/job_queue.py`. Two tables, not one: a job lives for seconds and is looked for all the time, a task is
kept for days and only read; and a queue that keeps its jobs elsewhere leaves the tasks where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from catalog.model.job import Claim, HeldClaim, Job
    from catalog.model.lane import Lane
    from catalog.model.task import Task, TaskPage, TaskQuery, TaskStatus


class JobQueue(Protocol):
    """Jobs in one transaction.

    A job is added, claimed, and ended or put back. What names a claim raises ClaimLost, and changes nothing, unless
    the job is held by that very claim: a worker that was taken for dead, and comes back, disturbs nobody. Claims
    outlive their workers; whoever sweeps asks for `claims` and puts back what nobody works on.
    """

    def add(self, job: Job) -> None:
        """Keep a job, to be claimed once the transaction has committed and `run_at` has come."""
        ...

    def is_due(
        self, kinds: Collection[str], *, at: datetime, lane: Lane | None = None, but_of: Collection[str] = ()
    ) -> bool:
        """Whether `claim` would find something; cheap, and only reads."""
        ...

    def claim(
        self,
        claim_id: str,
        process: str,
        kinds: Collection[str],
        *,
        at: datetime,
        lane: Lane | None = None,
        but_of: Collection[str] = (),
    ) -> Claim | None:
        """Take the next job of these kinds that is due in this lane, None: in any; None where there is none.

        Passed over are jobs whose lock's job is claimed, and those of the projects `but_of`. The next one of the quick
        lane (`catalog/model/lane.py`) is the one that has been due for longest. In the slow lane it is that of the
        project whose turn it is: of several projects' jobs that wait, the first ones come before the second ones,
        however many a project has added before the others came. Jobs of one lane, however many, delay no claim in the
        other.

        The claim is heard of at `at`, and counts as an attempt.
        """
        ...

    def is_cancelled(self, claim: Claim) -> bool:
        """Whether the job's end is asked for; only reads. Raises ClaimLost."""
        ...

    def hear(self, claim: Claim, *, at: datetime) -> None:
        """The worker is alive. Raises ClaimLost."""
        ...

    def end(self, claim: Claim) -> None:
        """The job is over and goes. Raises ClaimLost."""
        ...

    def put_back(self, claim: Claim, *, run_at: datetime, counts: bool) -> None:
        """The job is to be claimed again, not before `run_at`; `counts` False: as if never begun. Raises ClaimLost."""
        ...

    def cancel(self, job_id: str) -> bool:
        """Remove the job if nobody has claimed it: True. A claimed one is marked, for its worker to see; else False."""
        ...

    def hasten(self, job_id: str, *, run_at: datetime) -> None:
        """The job, if nobody has claimed it, need not wait longer than until `run_at`."""
        ...

    def has(self, kind: str, *, lock: str) -> bool:
        """Whether a job of this kind with this lock is to be done, claimed or not; only reads."""
        ...

    def claims(self) -> Sequence[HeldClaim]:
        """Every claim that is held, by any process."""
        ...


class Tasks(Protocol):
    """The records of tasks, in one transaction."""

    def add(self, task: Task) -> None:
        """Keep a new task."""
        ...

    def get(self, task_id: str) -> Task | None:
        """The task, or None."""
        ...

    def save(self, task: Task) -> None:
        """Write the task back."""
        ...

    def of_image(self, image_id: str, limit: int) -> Sequence[Task]:
        """The last `limit` tasks on an image, newest first."""
        ...

    def under_way(self, image_id: str) -> Sequence[Task]:
        """The tasks on an image that are not over."""
        ...

    def own_pending(self, kind: str, image_id: str) -> str | None:
        """The id of a pending task that the service gave itself (`own_task`), of this kind and on this image."""
        ...

    def page(self, owner: str | None, query: TaskQuery, after: Task | None) -> TaskPage:
        """Tasks of the project `owner`, or of all for None, that fit the query, in its order, behind `after`."""
        ...

    def counts(self) -> Mapping[TaskStatus, int]:
        """How many tasks stand where, those that are over included while they are kept."""
        ...

    def any_expired(self, *, at: datetime) -> bool:
        """Whether `remove_expired` would find something; only reads."""
        ...

    def remove_expired(self, *, at: datetime) -> int:
        """Forget the tasks whose time is over by `at`; how many."""
        ...
