"""What the test suite shows of this step: jobs, several processes, cutting by content, what an operator relies on."""

from __future__ import annotations

from bench.show.main_job.tests import Selection, register

# As the table in `bench/show/main_job/tests.py`: a name, a sentence, selections. Tests have no short form.
TABLE: tuple[tuple[str, str, tuple[Selection, ...]], ...] = (
    (
        "job-queue",
        "Jobs: in the transaction of what they belong to, tried again, one at a time an image, cancelled, given up.",
        (
            Selection("the queue's contract", ("tests/catalog/jobs/test_queue_in_the_catalog.py",)),
            Selection("the worker", ("tests/catalog/jobs/test_worker.py",)),
            Selection(
                "hashes in the background",
                ("tests/catalog/jobs/test_hash_image.py", "tests/catalog/jobs/test_hash_of_parent.py"),
            ),
        ),
    ),
    (
        "processes-that-die",
        "Workers that are killed are replaced, their uploads and jobs go on elsewhere, and none outlives its service.",
        (
            Selection("servers of one service", ("tests/services/test_server_workers.py",)),
            Selection("workers on jobs", ("tests/services/test_workers_that_die.py",)),
        ),
    ),
    (
        "content-defined",
        "Images that are cut by content: any bytes come back, and a shifted copy finds the blocks of the first.",
        (
            Selection("the cutter", ("tests/chunker/test_content_defined.py",)),
            Selection("its images", ("tests/blockstore/test_content_defined.py",)),
            Selection("its manifests", ("tests/blockstore/test_content_manifests.py",)),
        ),
    ),
    (
        "operation",
        "Settings, TLS that is read again, proxies, logs that nobody can forge, logins that are limited, /ready.",
        (
            Selection(
                "settings and what serve refuses", ("tests/httpapi/test_settings.py", "tests/httpapi/test_checks.py")
            ),
            Selection("TLS and proxies", ("tests/httpapi/test_tls.py", "tests/httpapi/test_proxies.py")),
            Selection("logs and access log", ("tests/httpapi/test_logs.py", "tests/httpapi/test_access_log.py")),
            Selection("users and logins", ("tests/httpapi/identity",)),
            Selection("/ready and /metrics", ("tests/httpapi/test_ready.py", "tests/httpapi/metrics")),
        ),
    ),
)

for _row in TABLE:
    register("bound", *_row, long_only=True)
