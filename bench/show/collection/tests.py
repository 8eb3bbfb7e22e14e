"""What the test suite shows of collection: each race by its name, the protocol explored whole, stops at every step."""

from __future__ import annotations

from bench.show.main_job.tests import Selection, register

_ROWS = "tests/catalog/collection/test_rows.py"
_FILES = "tests/catalog/collection/test_files.py"
_PINS = "tests/catalog/collection/test_pins.py"
_OWNERS = ("tests/blockstore/packs/test_adoption.py", "tests/blockstore/leases/test_flock.py")
_COMPACTION = "tests/blockstore/compaction/test_races.py"

# As the table in `bench/show/main_job/tests.py`: a name, a sentence, selections. Tests have no short form.
TABLE: tuple[tuple[str, str, tuple[Selection, ...]], ...] = (
    (
        "races",
        "Each race, as a test that fails without its protection.",
        (
            Selection("a row checked just before it was condemned", (_ROWS,), "just_before_it_was_condemned"),
            Selection("between forget and unlink", (_ROWS,), "between_forgetting_and_unlinking"),
            Selection("a writer frozen through three collections", (_ROWS,), "frozen_through_three_collections"),
            Selection("two collectors, one frozen", (_ROWS,), "collection_frozen or taken_over"),
            Selection("a late unlink after the same bytes again", (_FILES,), "unlink_that_comes_after"),
            Selection(
                "a pack sealed whose rows are not in yet", (_ROWS,), "rows_are_not_in_yet or after_it_was_counted"
            ),
            Selection("compaction against writers and itself", (_COMPACTION,)),
            Selection("compaction against readers", ("tests/blockstore/compaction/test_readers.py",)),
            Selection("parent deleted, child coalesced, collected", (_ROWS,), "parent_is_deleted"),
            Selection("a pin that expires while it is resumed", (_PINS,), "expire or renewal"),
            Selection("a pack of a process that is only frozen", _OWNERS, "left_alone or stopped_process"),
            Selection("a journal that grows after it was marked", (_PINS,), "journal or record"),
            Selection("files that no record names yet", (_FILES,)),
        ),
    ),
    (
        "model",
        "The protocol, explored whole, is safe, and unsafe without any one of its protections.",
        (Selection("every interleaving", ("tests/model",)),),
    ),
    (
        "stopped",
        "A collection, a compaction or a scrub that is stopped at any step has lost nothing.",
        (Selection("stopped at every step", ("tests/crashes/test_crash_while_cleaning.py",)),),
    ),
)

for _row in TABLE:
    register("collection", *_row, long_only=True)
