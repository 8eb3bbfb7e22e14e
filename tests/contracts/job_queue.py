"""What every job queue owes, as tests; a test module inherits them and gives the fixture `database`.

`database` is a `catalog.ports.Database` without jobs. Time is the tests': nothing here waits.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest

from catalog.model.job import ClaimLost, HeldClaim, Job
from catalog.model.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.model.job import Claim
    from catalog.ports import Database, UnitOfWork

T = TypeVar("T")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KINDS = frozenset({"hash", "copy"})
SLOW_KINDS = frozenset({"import", "location_import"})


def write(database: Database, step: Callable[[UnitOfWork], T]) -> T:
    return asyncio.run(database.write(step))


def read(database: Database, step: Callable[[UnitOfWork], T]) -> T:
    return asyncio.run(database.read(step))


def add(database: Database, *jobs: Job) -> None:
    for job in jobs:
        write(database, lambda uow, job=job: uow.jobs.add(job))  # type: ignore[misc]  # mypy and defaults of lambdas


def claim(database: Database, name: str = "c", *, process: str = "p", at: datetime = NOON) -> Claim | None:
    return write(database, lambda uow: uow.jobs.claim(name, process, KINDS, at=at))


def next_slow(database: Database, *, but_of: frozenset[str] = frozenset()) -> str | None:
    """The job that the slow lane gives; it stays claimed."""
    name = f"slow-{len(read(database, lambda uow: uow.jobs.claims()))}"
    taken = write(
        database, lambda uow: uow.jobs.claim(name, "p", KINDS | SLOW_KINDS, at=NOON, lane=Lane.SLOW, but_of=but_of)
    )
    return None if taken is None else taken.job_id


def must_claim(database: Database, name: str = "c", *, at: datetime = NOON) -> Claim:
    taken = claim(database, name, at=at)
    assert taken is not None
    return taken


class JobQueueContract:
    """The tests; each gets a fresh queue."""

    def test_an_empty_queue_gives_nothing(self, database: Database) -> None:
        assert claim(database) is None
        assert not read(database, lambda uow: uow.jobs.is_due(KINDS, at=NOON))
        assert read(database, lambda uow: uow.jobs.claims()) == []

    def test_a_job_may_be_hastened_and_never_delayed(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON + 10 * SECOND, lock="image"))
        write(database, lambda uow: uow.jobs.hasten("a", run_at=NOON + 20 * SECOND))
        assert not read(database, lambda uow: uow.jobs.is_due(KINDS, at=NOON + 9 * SECOND))
        assert read(database, lambda uow: uow.jobs.is_due(KINDS, at=NOON + 10 * SECOND))
        write(database, lambda uow: uow.jobs.hasten("a", run_at=NOON))
        write(database, lambda uow: uow.jobs.hasten("none", run_at=NOON))
        must_claim(database)

    def test_a_job_is_claimed_once(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON, lock="image"))
        assert read(database, lambda uow: uow.jobs.is_due(KINDS, at=NOON))
        taken = must_claim(database)
        assert (taken.id, taken.job_id, taken.kind, taken.process, taken.attempt) == ("c", "a", "hash", "p", 1)
        assert claim(database, "other") is None
        assert not read(database, lambda uow: uow.jobs.is_due(KINDS, at=NOON))
        assert read(database, lambda uow: uow.jobs.claims()) == [HeldClaim(taken, NOON, cancelled=False)]

    def test_a_transaction_that_fails_adds_no_job(self, database: Database) -> None:
        def half(uow: UnitOfWork) -> None:
            uow.jobs.add(Job("a", "hash", NOON))
            raise RuntimeError("after all not")

        with pytest.raises(RuntimeError):
            write(database, half)
        assert claim(database) is None

    def test_a_job_waits_for_its_time_and_the_one_due_for_longest_comes_first(self, database: Database) -> None:
        add(database, Job("late", "hash", NOON + SECOND), Job("b", "hash", NOON), Job("a", "hash", NOON - SECOND))
        assert [must_claim(database, name).job_id for name in "xy"] == ["a", "b"]
        assert claim(database, "z") is None
        assert must_claim(database, "z", at=NOON + SECOND).job_id == "late"

    def test_kinds_that_a_worker_does_not_know_are_left_to_others(self, database: Database) -> None:
        add(database, Job("a", "convert", NOON))
        assert claim(database) is None
        assert not read(database, lambda uow: uow.jobs.is_due(KINDS, at=NOON))

    def test_slow_jobs_that_wait_are_not_seen_from_the_quick_lane_nor_quick_ones_from_the_slow_one(
        self, database: Database
    ) -> None:
        kinds = KINDS | SLOW_KINDS

        def quick(name: str) -> Claim | None:
            return write(database, lambda uow: uow.jobs.claim(name, "p", kinds, at=NOON, lane=Lane.QUICK))

        far = Job("far", "hash", NOON, lane=Lane.SLOW)
        add(database, Job("slow", "import", NOON - SECOND), Job("quick", "hash", NOON), far)
        taken = quick("1")
        assert taken is not None
        assert taken.job_id == "quick"
        assert quick("2") is None
        assert not read(database, lambda uow: uow.jobs.is_due(kinds, at=NOON, lane=Lane.QUICK))
        assert read(database, lambda uow: uow.jobs.is_due(kinds, at=NOON, lane=Lane.SLOW))
        assert [next_slow(database) for _ in range(3)] == ["slow", "far", None]

    def test_who_asks_in_no_lane_is_given_jobs_of_both(self, database: Database) -> None:
        add(database, Job("slow", "import", NOON - SECOND), Job("quick", "hash", NOON))
        for name, job in (("1", "quick"), ("2", "slow")):
            taken = write(database, lambda uow, name=name: uow.jobs.claim(name, "p", KINDS | SLOW_KINDS, at=NOON))  # type: ignore[misc]
            assert taken is not None
            assert taken.job_id == job

    def test_projects_take_turns_with_slow_jobs_however_many_one_has(self, database: Database) -> None:
        add(database, *(Job(f"a{n}", "import", NOON - 2 * SECOND, owner="a") for n in range(4)))
        assert next_slow(database) == "a0"
        add(database, *(Job(f"b{n}", "location_import", NOON - SECOND, owner="b") for n in range(2)))
        add(database, Job("c0", "import", NOON, owner="c"))
        assert [next_slow(database) for _ in range(7)] == ["a1", "b0", "c0", "a2", "b1", "a3", None]

    def test_who_was_served_for_long_is_not_kept_waiting_by_who_comes_with_many(self, database: Database) -> None:
        add(database, *(Job(f"a{n}", "import", NOON - 2 * SECOND, owner="a") for n in range(5)))
        for _ in range(4):
            next_slow(database)
        add(database, *(Job(f"b{n}", "import", NOON - SECOND, owner="b") for n in range(3)))
        assert [next_slow(database) for _ in range(3)] == ["a4", "b0", "b1"]
        add(database, Job("a5", "import", NOON, owner="a"))
        assert [next_slow(database) for _ in range(2)] == ["b2", "a5"]

    def test_a_slow_job_that_is_put_back_keeps_its_turn(self, database: Database) -> None:
        add(database, *(Job(f"a{n}", "import", NOON, owner="a") for n in range(2)), Job("b", "import", NOON, owner="b"))
        taken = write(database, lambda uow: uow.jobs.claim("c", "p", SLOW_KINDS, at=NOON))
        assert taken is not None
        write(database, lambda uow: uow.jobs.put_back(taken, run_at=NOON, counts=False))
        assert [next_slow(database) for _ in range(3)] == ["a0", "b", "a1"]

    def test_a_slow_job_that_waits_for_its_next_try_lets_nobody_come_before_others(self, database: Database) -> None:
        add(database, Job("a", "import", NOON - 2 * SECOND, owner="a"))
        failed = write(database, lambda uow: uow.jobs.claim("f", "p", SLOW_KINDS, at=NOON))
        assert failed is not None
        write(database, lambda uow: uow.jobs.put_back(failed, run_at=NOON + 60 * SECOND, counts=True))
        add(database, *(Job(f"c{n}", "import", NOON - SECOND, owner="c") for n in range(3)))
        assert next_slow(database) == "c0"
        add(database, Job("b0", "import", NOON, owner="b"))
        assert [next_slow(database) for _ in range(4)] == ["c1", "b0", "c2", None]

    def test_jobs_of_projects_that_are_to_wait_are_passed_over(self, database: Database) -> None:
        add(database, Job("a", "import", NOON, owner="a"), Job("b", "import", NOON, owner="b"))
        assert next_slow(database, but_of=frozenset("a")) == "b"
        assert next_slow(database, but_of=frozenset("a")) is None
        assert not read(database, lambda uow: uow.jobs.is_due(SLOW_KINDS, at=NOON, but_of=["a"]))
        assert next_slow(database, but_of=frozenset("b")) == "a"

    def test_whether_something_is_to_be_done_is_known_until_its_end(self, database: Database) -> None:
        def there(kind: str, lock: str) -> bool:
            return read(database, lambda uow: uow.jobs.has(kind, lock=lock))

        add(database, Job("a", "hash", NOON + SECOND, lock="image"))
        assert [there(*asked) for asked in (("hash", "image"), ("copy", "image"), ("hash", "other"))] == [
            True,
            False,
            False,
        ]
        taken = must_claim(database, at=NOON + SECOND)
        assert there("hash", "image")
        write(database, lambda uow: uow.jobs.end(taken))
        assert not there("hash", "image")

    def test_one_lock_is_held_by_one_job_at_a_time(self, database: Database) -> None:
        add(database, *(Job(name, "hash", NOON, lock="image") for name in "ab"), Job("c", "copy", NOON, lock="other"))
        first, other = must_claim(database, "1"), must_claim(database, "2")
        assert (first.job_id, other.job_id) == ("a", "c")
        assert claim(database, "3") is None
        write(database, lambda uow: uow.jobs.end(first))
        assert must_claim(database, "3").job_id == "b"

    def test_jobs_without_a_lock_do_not_keep_each_other_waiting(self, database: Database) -> None:
        add(database, *(Job(name, "hash", NOON) for name in "ab"))
        assert [must_claim(database, name).job_id for name in "12"] == ["a", "b"]

    def test_a_job_that_ended_is_gone_and_its_claim_can_do_nothing_more(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON))
        taken = must_claim(database)
        write(database, lambda uow: uow.jobs.end(taken))
        self.can_do_nothing(database, taken)
        assert claim(database) is None

    def test_a_job_put_back_counts_its_attempts_if_it_is_told_to(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON))
        for counts, attempt in ((True, 1), (False, 2), (True, 2), (True, 3)):
            taken = must_claim(database, f"claim-{counts}-{attempt}")
            assert taken.attempt == attempt
            write(database, lambda uow, t=taken, c=counts: uow.jobs.put_back(t, run_at=NOON, counts=c))  # type: ignore[misc]
        assert read(database, lambda uow: uow.jobs.claims()) == []

    def test_a_job_put_back_for_later_waits_until_then(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON))
        taken = must_claim(database)
        write(database, lambda uow: uow.jobs.put_back(taken, run_at=NOON + SECOND, counts=True))
        assert claim(database) is None
        assert must_claim(database, at=NOON + SECOND).attempt == 2

    def test_a_late_worker_changes_nothing_of_a_job_that_another_one_has(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON))
        late = must_claim(database, "late")
        write(database, lambda uow: uow.jobs.put_back(late, run_at=NOON, counts=True))
        self.can_do_nothing(database, late)
        now = must_claim(database, "now")
        self.can_do_nothing(database, late)
        assert read(database, lambda uow: uow.jobs.claims()) == [HeldClaim(now, NOON, cancelled=False)]

    def test_a_claim_is_as_old_as_its_last_sign_of_life(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON))
        taken = must_claim(database)
        write(database, lambda uow: uow.jobs.hear(taken, at=NOON + SECOND))
        assert read(database, lambda uow: uow.jobs.claims()) == [HeldClaim(taken, NOON + SECOND, cancelled=False)]

    def test_cancelling_removes_a_waiting_job_and_marks_a_running_one(self, database: Database) -> None:
        add(database, Job("a", "hash", NOON), Job("b", "hash", NOON + SECOND))
        taken = must_claim(database)
        assert not read(database, lambda uow: uow.jobs.is_cancelled(taken))
        assert not write(database, lambda uow: uow.jobs.cancel("a"))
        assert read(database, lambda uow: uow.jobs.is_cancelled(taken))
        assert read(database, lambda uow: uow.jobs.claims()) == [HeldClaim(taken, NOON, cancelled=True)]
        assert write(database, lambda uow: uow.jobs.cancel("b"))
        assert not write(database, lambda uow: uow.jobs.cancel("b"))
        assert claim(database, "d", at=NOON + SECOND) is None

    @staticmethod
    def can_do_nothing(database: Database, lost: Claim) -> None:
        for step in (
            lambda uow: uow.jobs.end(lost),
            lambda uow: uow.jobs.hear(lost, at=NOON),
            lambda uow: uow.jobs.put_back(lost, run_at=NOON, counts=True),
            lambda uow: uow.jobs.is_cancelled(lost),
        ):
            with pytest.raises(ClaimLost):
                write(database, step)
