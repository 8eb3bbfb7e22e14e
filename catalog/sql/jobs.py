"""The embedded job queue: a table of claims; see `catalog/jobs/contract.py` for what it owes.

SQLite has one writer, so a step never meets another one half-way; the conditions on the claim's id stand in every
statement all the same, since between a worker's steps anything may happen.

Jobs of the slow lane have a `turn`, the others none; each lane has an index of its own, so the jobs of one are not
passed over on the way to the other's. The turn is given when the job is added: that of the first which waits now, but
behind the last one of its own project. So the first jobs of all projects come before the second ones, and nothing has
to be counted when one is claimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, case, delete, exists, func, insert, select, update

from catalog.model.job import Claim, ClaimLost, HeldClaim, Job
from catalog.model.lane import Lane, lane_of
from catalog.sql.job_tables import jobs
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
        row = {"id": job.id, "kind": job.kind, "lock": job.lock, "run_at": to_us(job.run_at), "owner": job.owner}
        lane = job.lane or lane_of(job.kind)
        turn = self._turn(job) if lane is Lane.SLOW else None
        self._connection.execute(insert(jobs), row | {"attempts": 0, "cancelled": False, "turn": turn})

    def is_due(
        self, kinds: Collection[str], *, at: datetime, lane: Lane | None = None, but_of: Collection[str] = ()
    ) -> bool:
        """Whether there is something to claim."""
        return self._due(kinds, at, lane, but_of) is not None

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
        """Take whose turn it is."""
        row = self._due(kinds, at, lane, but_of)
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

    def has(self, kind: str, *, lock: str) -> bool:
        """Whether it is to be done."""
        there = select(jobs.c.id).where(jobs.c.lock == lock, jobs.c.kind == kind).limit(1)
        return self._connection.execute(there).first() is not None

    def claims(self) -> Sequence[HeldClaim]:
        """Every claim."""
        return [_held(row) for row in self._connection.execute(select(jobs).where(jobs.c.claim_id.is_not(None)))]

    def _due(
        self, kinds: Collection[str], at: datetime, lane: Lane | None, but_of: Collection[str]
    ) -> Row[*tuple[Any, ...]] | None:
        asked = {"kinds": sorted(kinds), "at": to_us(at), "but_of": sorted(but_of)}
        for here in Lane if lane is None else [lane]:
            row = self._connection.execute(_DUE[here], asked).first()
            if row is not None:
                return row
        return None

    def _turn(self, job: Job) -> int:
        last = self._connection.execute(_LAST_OF, {"of_owner": job.owner}).scalar_one()
        # Not of one that waits for its next try: whoever came after it would be first, for as long as it waits.
        first = self._connection.execute(_FIRST, {"at": to_us(job.run_at)}).scalar()
        if first is None:  # nothing waits: what is at work had its turn
            first = self._connection.execute(_LAST).scalar_one() or 0
        return max(first, -1 if last is None else last + 1)

    def _change(self, claim: Claim, statement: Update | Delete, values: Mapping[str, object]) -> None:
        result: CursorResult[Any] = self._connection.execute(statement, {**_of(claim), **values})
        if result.rowcount != 1:
            raise _lost(claim)


def _due(lane: Lane) -> Select[*tuple[Any, ...]]:
    beside = jobs.alias("beside")
    locked = exists().where(beside.c.lock == jobs.c.lock, beside.c.claim_id.is_not(None))
    in_slow = lane is Lane.SLOW
    waiting = (
        jobs.c.claim_id.is_(None),
        jobs.c.run_at <= bindparam("at"),
        jobs.c.kind.in_(bindparam("kinds", expanding=True)),
        jobs.c.owner.not_in(bindparam("but_of", expanding=True)),
        jobs.c.turn.is_not(None) if in_slow else jobs.c.turn.is_(None),
    )
    # By the order that is wanted: by claim SQLite would look at all that wait, and sort them, for the one.
    return (
        select(jobs)
        .with_hint(jobs, f"INDEXED BY {'ix_jobs_turn' if in_slow else 'ix_jobs_quick'}")
        .where(*waiting, case((jobs.c.lock.is_(None), True), else_=~locked))
        .order_by(*([jobs.c.turn] if in_slow else []), jobs.c.run_at, jobs.c.id)
        .limit(1)
    )


def _of(claim: Claim) -> dict[str, object]:
    return {"of_job": claim.job_id, "of_claim": claim.id}


# Made once: to make one takes longer than to run it.
_HELD: Final = jobs.c.id == bindparam("of_job"), jobs.c.claim_id == bindparam("of_claim")
_DUE: Final = {lane: _due(lane) for lane in Lane}
_SLOW: Final = jobs.c.turn.is_not(None)
_DUE_NOW: Final = jobs.c.claim_id.is_(None), jobs.c.run_at <= bindparam("at")
_FIRST: Final = select(jobs.c.turn).where(_SLOW, *_DUE_NOW).order_by(jobs.c.turn).limit(1)
_LAST: Final = select(func.max(jobs.c.turn)).where(_SLOW)
_LAST_OF: Final = select(func.max(jobs.c.turn)).where(_SLOW, jobs.c.owner == bindparam("of_owner"))
_CLAIM: Final = update(jobs).where(jobs.c.id == bindparam("of_job"), jobs.c.claim_id.is_(None))
_CANCELLED: Final = select(jobs.c.cancelled).where(*_HELD)
_CHANGE: Final = update(jobs).where(*_HELD)
_END: Final = delete(jobs).where(*_HELD)


def _lost(claim: Claim) -> ClaimLost:
    return ClaimLost(f"job {claim.job_id} is no longer held by claim {claim.id}")


def _held(row: Row[*tuple[Any, ...]]) -> HeldClaim:
    claim = Claim(id=row.claim_id, job_id=row.id, kind=row.kind, process=row.process, attempt=row.attempts)
    return HeldClaim(claim=claim, heard_at=from_us(row.heard_at), cancelled=row.cancelled)
