from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.model.explore import explore
from tests.model.protections import protections, without
from tests.model.runs import NEEDED, NOT_NEEDED, RUNS, WIDEST

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("run", RUNS)
def test_the_protocol_is_safe_as_deep_as_it_goes_in_some_states_of_each_depth(run: str) -> None:
    found = explore(RUNS[run], widest=WIDEST)
    assert found.broken is None, "\n".join((*found.trace, str(found.broken)))


@pytest.mark.parametrize(("run", "off"), NEEDED)
def test_without_any_one_protection_it_breaks(run: str, off: str) -> None:
    found = explore(without(RUNS[run], off))
    assert found.broken is not None, f"{found.states} states, and {off} was not needed"
    print(*found.trace, found.broken, sep="\n")


@pytest.mark.long
@pytest.mark.parametrize("run", RUNS)
def test_the_protocol_is_safe_in_every_state_that_it_can_reach(run: str) -> None:
    found = explore(RUNS[run])
    assert found.broken is None, "\n".join((*found.trace, str(found.broken)))


@pytest.mark.long
@pytest.mark.parametrize(("run", "off"), NEEDED)
def test_some_states_of_each_depth_are_enough_to_miss_any_one_protection(run: str, off: str) -> None:
    assert explore(without(RUNS[run], off), widest=WIDEST).broken is not None


@pytest.mark.long
@pytest.mark.parametrize(("run", "off"), NOT_NEEDED)
def test_what_the_readme_calls_a_second_line_is_one(run: str, off: str) -> None:
    assert explore(without(RUNS[run], off)).broken is None


def test_every_protection_is_shown_to_be_needed_or_called_a_second_line() -> None:
    shown = {(type(RUNS[run]), off) for run, off in (*NEEDED, *NOT_NEEDED)}
    every = {(type(model), off) for model in RUNS.values() for off in protections(model)}
    assert shown == every


def told_in(readme: str) -> list[str]:
    """The protections that have a line of their own in a table."""
    return re.findall(r"^\| `(\w+)` \|", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_locking_table_says_of_each_protection_what_happens_without_it() -> None:
    assert sorted(told_in("blockstore/README.md")) == sorted({off for _, off in NEEDED})


def test_the_readme_says_why_each_second_line_stays() -> None:
    assert sorted(told_in("tests/model/README.md")) == sorted({off for _, off in NOT_NEEDED})
