from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.tempest.cloud import PROFILES
from tests.tempest.ends import LISTED, End, counts, faults, read, switched_off

if TYPE_CHECKING:
    from pathlib import Path

MOST = {"enforced": 31, "not-enforced": 12}
GOOD = End("a.A.test_good", "passed", "")
OFF = End("a.A.test_off", "skipped", "It is off.")


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_list_does_not_grow(profile: object) -> None:
    name = getattr(profile, "name", "")
    assert len(switched_off(name)) <= MOST[name], "mend the service, or say here why one more is switched off"


def test_each_reason_is_told_and_each_test_stands_under_one() -> None:
    tables = tomllib.loads(LISTED.read_text(encoding="utf-8"))
    tests = [test for table in tables.values() for test in table["tests"]]
    assert len(tests) == len(set(tests))
    for table in tables.values():
        assert re.search(r"^\S.*\.$", table["why"])
        assert set(table.get("profiles", ())) <= {profile.name for profile in PROFILES}


def test_what_is_as_listed_is_no_fault() -> None:
    assert faults([GOOD, OFF], {OFF.test: "off"}) == []
    assert counts([GOOD, OFF], {OFF.test: "off"}) == {"run": 1, "passed": 1, "failed": 0, "skipped": 1}


@pytest.mark.parametrize("how", ["skipped", "failed"])
def test_a_test_that_did_not_pass_and_is_not_listed_is_a_fault(how: str) -> None:
    [fault] = faults([GOOD, End("a.A.test_bad", how, "First line\nGot server fault\n")], {})
    assert fault == f"{how} and not listed: a.A.test_bad: Got server fault"


def test_a_listed_test_that_passed_or_is_not_there_is_a_fault() -> None:
    assert faults([GOOD], {GOOD.test: "off", OFF.test: "off"}) == [
        "listed and passed: a.A.test_good",
        "listed and not there: a.A.test_off",
    ]


def test_a_listed_test_that_ran_and_failed_is_skipped_not_failed() -> None:
    told = counts([GOOD, End(OFF.test, "failed", ""), End("a.A.test_bad", "failed", "")], {OFF.test: "off"})
    assert told == {"run": 2, "passed": 1, "failed": 1, "skipped": 1}


def test_results_are_read_without_what_all_names_have_in_common(tmp_path: Path) -> None:
    line = {"test": "tempest.api.image.v2.a.A.test_good", "end": "passed", "why": ""}
    (tmp_path / "results").write_text(f"{json.dumps(line)}\n", encoding="utf-8")
    assert read(tmp_path / "results") == [GOOD]
