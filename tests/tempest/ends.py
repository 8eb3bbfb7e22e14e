"""How tempest's tests ended, beside the list of those that are switched off."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LISTED: Final = Path(__file__).parent / "switched_off.toml"
ROOM: Final = "tempest.api.image.v2."
"""Where all of the tests are; names in the list go without it."""


@dataclass(frozen=True, slots=True)
class End:
    """One test: `passed`, `skipped` or `failed`, and why."""

    test: str
    how: str
    why: str


def read(results: Path) -> list[End]:
    """What `programs/run_tests.py` has written."""
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return [End(str(each["test"]).removeprefix(ROOM), each["end"], each["why"]) for each in lines]


def switched_off(profile: str) -> Mapping[str, str]:
    """The tests that do not pass under this profile, each with the word for its reason."""
    tables = tomllib.loads(LISTED.read_text(encoding="utf-8"))
    return {
        test: word
        for word, table in tables.items()
        if profile in table.get("profiles", [profile])
        for test in table["tests"]
    }


def faults(ends: Sequence[End], listed: Mapping[str, str]) -> list[str]:
    """What is not as the list has it, a line each: whatever did not pass is in it, and nothing else."""
    found = {end.test: end for end in ends}
    wrong = [
        f"{end.how} and not listed: {end.test}: {_last_line(end.why)}"
        for end in ends
        if end.how != "passed" and end.test not in listed
    ]
    wrong += [f"listed and passed: {test}" for test in listed if test in found and found[test].how == "passed"]
    return wrong + [f"listed and not there: {test}" for test in listed if test not in found]


def counts(ends: Sequence[End], listed: Mapping[str, str]) -> Mapping[str, int]:
    """How many ran, and how they ended; a listed test that ran and failed is switched off, so it counts as skipped."""
    told = Counter("skipped" if end.how == "skipped" or end.test in listed else end.how for end in ends)
    return {
        "run": told["passed"] + told["failed"],
        "passed": told["passed"],
        "failed": told["failed"],
        "skipped": told["skipped"],
    }


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:200]
