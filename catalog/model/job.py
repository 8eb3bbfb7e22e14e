"""The job: a task's work, as the queue keeps it and as a worker holds it.

Who works on a job holds a **claim**, whose id is new each time: whatever a worker does to a job names its claim, and
does nothing when the job has gone to another one meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from catalog.model.lane import Lane


class ClaimLost(Exception):
    """The job is no longer this claim's: another worker has it, or it is over. Nothing was changed."""


class JobCancelled(Exception):
    """The work is not wanted any more; the message ends the sentence "Cancelled: …"."""


class JobFailed(Exception):
    """The work cannot succeed however often it is tried; the message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be done, not before `run_at`; `id` and `owner` are its task's, the service's own have no owner.

    Of the jobs with one `lock`, one runs at a time. It waits in the `lane` of its kind, if no other is said.
    """

    id: str
    kind: str
    run_at: datetime
    lock: str | None = None
    owner: str = ""
    lane: Lane | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on a job: `process` names its process's lock, `attempt` counts the job's claims from 1."""

    id: str
    job_id: str
    kind: str
    process: str
    attempt: int


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A claim as others see it: when its worker was last heard of, and whether the job is to be cancelled."""

    claim: Claim
    heard_at: datetime
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a job is tried, and how long it waits in between: `first` seconds, then `factor` times as long."""

    tries: int = 5
    first: float = 1.0
    factor: float = 4.0

    def pause(self, attempt: int) -> timedelta | None:
        """How long to wait after the `attempt`th try has failed; None when it was the last one."""
        if attempt >= self.tries:
            return None
        return timedelta(seconds=self.first * self.factor ** (attempt - 1))
