from __future__ import annotations

from tests.contracts.job_queue import JobQueueContract


class TestSqlJobs(JobQueueContract):
    """The embedded queue."""
