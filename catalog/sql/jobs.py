"""The embedded job queue: a table of claims; see `catalog/jobs/contract.py` for what it owes.

SQLite has one writer, so a step never meets another one half-way; the conditions on the claim's id stand in every
statement all the same, since between a worker's steps anything may happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, case, delete, exists, insert, select, update

from catalog.model.job import Claim, ClaimLost, HeldClaim, Job
from catalog.sql.tables import jobs
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, CursorResult, Delete, Row, Select, Update


class SqlJobs:
    """The port `JobQueue` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, job: Job) -> None:
        """Keep a job."""
        row = {"id": job.id, "kind": job.kind, "lock": job.lock, "run_at": to_us(job.run_at)}
        self._connection.execute(insert(jobs), row | {"attempts": 0, "cancelled": False})

    def is_due(self, kinds: Collection[str], *, at: datetime) -> bool:
        """Whether there is something to claim."""
        return self._due(kinds, at) is not None

    def claim(self, claim_id: str, process: str, kinds: Collection[str], *, at: datetime) -> Claim | None:
        """Take what has been due for longest."""
        row = self._due(kinds, at)
        if row is None:
            return None
        attempt = row.attempts + 1
        taken = {"claim_id": claim_id, "process": process, "heard_at": to_us(at), "attempts": attempt}
        self._connection.execute(_CLAIM, {"of_job": row.id} | taken)
        return Claim(id=claim_id, job_id=row.id, kind=row.kind, process=process, attempt=attempt)

    def is_cancelled(self, claim: Claim) -> bool:
        """Whether the job's end is asked for."""
        row = self._connection.execute(_CANCELLED, _of(claim)).first()
        if row is None:
            raise _lost(claim)
        return bool(row.cancelled)

    def hear(self, claim: Claim, *, at: datetime) -> None:
        """The worker is alive."""
        self._change(claim, _CHANGE, {"heard_at": to_us(at)})

    def end(self, claim: Claim) -> None:
        """The job goes."""
        self._change(claim, _END, {})

    def put_back(self, claim: Claim, *, run_at: datetime, counts: bool) -> None:
        """Nobody's again."""
        free = {"claim_id": None, "process": None, "heard_at": None, "run_at": to_us(run_at)}
        self._change(claim, _CHANGE, free | {"attempts": claim.attempt - (0 if counts else 1)})

    def cancel(self, job_id: str) -> bool:
        """Remove it, or mark it if it is claimed."""
        waiting = delete(jobs).where(jobs.c.id == job_id, jobs.c.claim_id.is_(None))
        if self._connection.execute(waiting).rowcount == 1:
            return True
        self._connection.execute(update(jobs).where(jobs.c.id == job_id).values(cancelled=True))
        return False

    def hasten(self, job_id: str, *, run_at: datetime) -> None:
        """Only ever sooner."""
        later = update(jobs).where(jobs.c.id == job_id, jobs.c.claim_id.is_(None), jobs.c.run_at > to_us(run_at))
        self._connection.execute(later.values(run_at=to_us(run_at)))

    def claims(self) -> Sequence[HeldClaim]:
        """Every claim."""
        return [_held(row) for row in self._connection.execute(select(jobs).where(jobs.c.claim_id.is_not(None)))]

    def _due(self, kinds: Collection[str], at: datetime) -> Row[*tuple[Any, ...]] | None:
        return self._connection.execute(_DUE, {"kinds": sorted(kinds), "at": to_us(at)}).first()

    def _change(self, claim: Claim, statement: Update | Delete, values: Mapping[str, object]) -> None:
        result: CursorResult[Any] = self._connection.execute(statement, {**_of(claim), **values})
        if result.rowcount != 1:
            raise _lost(claim)


def _due_for_longest() -> Select[*tuple[Any, ...]]:
    beside = jobs.alias("beside")
    locked = exists().where(beside.c.lock == jobs.c.lock, beside.c.claim_id.is_not(None))
    waiting = (
        jobs.c.claim_id.is_(None),
        jobs.c.run_at <= bindparam("at"),
        jobs.c.kind.in_(bindparam("kinds", expanding=True)),
    )
    # By the order that is wanted: by claim SQLite would look at all that wait, and sort them, for the one.
    return (
        select(jobs)
        .with_hint(jobs, "INDEXED BY ix_jobs_run_at")
        .where(*waiting, case((jobs.c.lock.is_(None), True), else_=~locked))
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(1)
    )


def _of(claim: Claim) -> dict[str, object]:
    return {"of_job": claim.job_id, "of_claim": claim.id}


# Made once: to make one takes longer than to run it.
_HELD: Final = jobs.c.id == bindparam("of_job"), jobs.c.claim_id == bindparam("of_claim")
_DUE: Final = _due_for_longest()
_CLAIM: Final = update(jobs).where(jobs.c.id == bindparam("of_job"), jobs.c.claim_id.is_(None))
_CANCELLED: Final = select(jobs.c.cancelled).where(*_HELD)
_CHANGE: Final = update(jobs).where(*_HELD)
_END: Final = delete(jobs).where(*_HELD)


def _lost(claim: Claim) -> ClaimLost:
    return ClaimLost(f"job {claim.job_id} is no longer held by claim {claim.id}")


def _held(row: Row[*tuple[Any, ...]]) -> HeldClaim:
    claim = Claim(id=row.claim_id, job_id=row.id, kind=row.kind, process=row.process, attempt=row.attempts)
    return HeldClaim(claim=claim, heard_at=from_us(row.heard_at), cancelled=row.cancelled)
