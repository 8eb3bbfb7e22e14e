"""What the test suite shows of increments: chains against files, parents that go, attacks, sessions that are killed."""

from __future__ import annotations

from bench.show.main_job.tests import Selection, register

# As the table in `bench/show/main_job/tests.py`: a name, a sentence, selections. Tests have no short form.
TABLE: tuple[tuple[str, str, tuple[Selection, ...]], ...] = (
    (
        "versions",
        "Versions with any edits, growth, shrinkage, coalescing and deleted ancestors are the same as plain files.",
        (
            Selection("a state machine against bytearrays", ("tests/catalog/test_versions_are_files.py",)),
            Selection("twenty versions by delta sessions", ("tests/catalog/test_delta_versions.py",)),
            Selection(
                "twenty versions by the command line", ("tests/httpapi/cli/test_only_what_changed.py",), "version"
            ),
        ),
    ),
    (
        "parents-that-go",
        "A parent deleted, coalesced and collected at every moment of a child's upload; children in crowds.",
        (
            Selection(
                "every moment", ("tests/catalog/test_chains_in_the_store.py", "tests/catalog/test_increments.py")
            ),
            Selection("every moment, over HTTP", ("tests/httpapi/test_parents_that_go.py",)),
            Selection("coalescing", ("tests/catalog/jobs/test_coalesce_chain.py", "tests/blockstore/test_coalesce.py")),
            Selection("stopped at every step", ("tests/crashes/test_crash_while_coalescing.py",)),
        ),
    ),
    (
        "attacks",
        "Two projects: whatever one tries on the other's blocks is a clear refusal, and nothing is kept.",
        (
            Selection("blocks, frames, numbers, sessions", ("tests/httpapi/test_delta_attacks.py",)),
            Selection("parents", ("tests/httpapi/test_increments.py",)),
        ),
    ),
    (
        "sessions-that-are-killed",
        "A delta upload goes on after its server or its client was killed, and nothing acknowledged is lost.",
        (
            Selection("the server, between and in requests", ("tests/services/test_delta_sessions.py",)),
            Selection("stopped at every step", ("tests/crashes/test_crash_in_a_delta.py",)),
            Selection(
                "the client",
                (
                    "tests/httpapi/client/test_delta_push.py",
                    "tests/httpapi/client/test_unchanged_push.py",
                    "tests/httpapi/client/test_delta_pull.py",
                ),
            ),
        ),
    ),
)

for _row in TABLE:
    register("increments", *_row, long_only=True)
