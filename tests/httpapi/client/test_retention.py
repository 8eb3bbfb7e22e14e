"""Which versions stay: restic's rule, by its examples, by a plain oracle and by what must always hold."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpapi.client.retention import UNLIMITED, Policy, Within, reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
COUNTED = [each.name for each in fields(Policy) if each.name != "within"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def kept(policy: Policy, times: Sequence[datetime], now: datetime = NOW) -> list[int]:
    return [number for number, why in enumerate(reasons(policy, times, now)) if why]


def test_a_backup_each_sunday_and_four_days_to_keep_is_restics_own_example() -> None:
    """Days without a version don't count."""
    sundays = [at("2019-11-17 11:00") - timedelta(weeks=week) for week in range(12)]
    why = reasons(Policy(daily=4), sundays, NOW)
    assert why == [("daily snapshot",)] * 4 + [()] * 8


def test_a_backup_a_day_for_years_is_the_other_one() -> None:
    """Of 7 dailies, 5 weeklies, 12 monthlies and 75 yearlies: each counts what others keep, too."""
    days = [at("2019-11-17 11:00") - timedelta(days=day) for day in range(365 * 80)]
    policy = Policy(daily=7, weekly=5, monthly=12, yearly=75)
    why = reasons(policy, days, NOW)
    for name, count in (("daily", 7), ("weekly", 5), ("monthly", 12), ("yearly", 75)):
        assert sum(f"{name} snapshot" in each for each in why) == count
    assert why[0] == ("daily snapshot", "weekly snapshot", "monthly snapshot", "yearly snapshot")
    assert why[7] == ("weekly snapshot",), "the Sunday before"
    assert why[17] == ("monthly snapshot",), "the last of October"


def test_of_each_time_the_newest_stays_and_the_oldest_of_all_where_a_rule_has_some_left() -> None:
    times = [at("2024-01-04 20:20"), at("2024-01-04 20:09"), at("2024-01-03 01:04"), at("2024-01-02 13:42")]
    assert reasons(Policy(monthly=4), times, NOW) == [("monthly snapshot",), (), (), ("oldest monthly snapshot",)]
    assert reasons(Policy(monthly=1), times, NOW) == [("monthly snapshot",), (), (), ()]
    assert reasons(Policy(daily=2), times, NOW) == [("daily snapshot",), (), ("daily snapshot",), ()]
    assert reasons(Policy(daily=3), times, NOW)[3] == ("daily snapshot",)
    assert reasons(Policy(hourly=UNLIMITED), times, NOW) == [
        ("hourly snapshot",),
        (),
        ("hourly snapshot",),
        ("hourly snapshot",),
    ]


def test_weeks_begin_on_monday_and_belong_to_the_year_that_has_most_of_them() -> None:
    monday, sunday = at("2024-12-30 00:00"), at("2024-12-29 23:59")
    first = at("2025-01-01 12:00")
    assert kept(Policy(weekly=2), [first, monday, sunday, sunday]) == [0, 2]


def test_days_are_those_of_the_zone_that_the_times_have() -> None:
    late, early = at("2024-01-04 23:30"), at("2024-01-04 22:30")
    assert kept(Policy(daily=1), [late, early]) == [0]
    zone = timezone(timedelta(hours=1))
    assert kept(Policy(daily=2), [late.astimezone(zone), early.astimezone(zone)]) == [0, 1]


def test_within_is_measured_from_the_newest_that_is_not_in_the_future() -> None:
    times = [NOW + timedelta(days=3), *(NOW - timedelta(days=10 + day) for day in range(4))]
    assert reasons(Policy(within=Within(days=2)), times, NOW) == [("within 2d",)] * 3 + [()] * 2
    assert kept(Policy(within=Within(days=2)), times[:1]) == [0]


@pytest.mark.parametrize(
    ("text", "moment", "before"),
    [
        ("1m", "2026-03-31 12:00", "2026-03-03 12:00"),
        ("1y", "2024-02-29 12:00", "2023-03-01 12:00"),
        ("1y5m7d2h", "2026-11-22 01:30", "2025-06-14 23:30"),
        ("13m", "2026-01-10 00:00", "2024-12-10 00:00"),
        ("2h3d", "2026-01-10 01:00", "2026-01-06 23:00"),
    ],
)
def test_a_time_by_the_calendar_goes_back_as_gos_does(text: str, moment: str, before: str) -> None:
    assert Within.parse(text).before(at(moment)) == at(before)


@pytest.mark.parametrize("text", ["9999y", "999999m", "999999d", "2000y999999h"])
def test_a_time_beyond_the_calendar_keeps_all(text: str) -> None:
    assert kept(Policy(within=Within.parse(text)), [NOW, at("0001-01-01 00:01")]) == [0, 1]


@pytest.mark.parametrize("text", ["", "7", "1w", "1d1d", "-1d", "1.5d", "0d", "0y0h", "1 d", "d", "٣d", "9999999d"])
def test_what_is_no_such_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 14d"):
        Within.parse(text)


def test_a_time_is_told_as_it_is_written() -> None:
    assert str(Within.parse("3h2y")) == "2y3h"
    assert Policy(daily=7, yearly=UNLIMITED, within=Within(days=2)).to_json() == {
        "daily": 7,
        "yearly": "unlimited",
        "within": "2d",
    }


def test_a_policy_that_says_nothing_is_empty() -> None:
    assert Policy().is_empty
    assert not Policy(last=1).is_empty
    assert not Policy(within=Within(hours=1)).is_empty
    assert reasons(Policy(last=1), [], NOW) == []


TIMES = st.lists(
    st.one_of(
        st.integers(0, 7 * 365 * 86400).map(lambda seconds: NOW + timedelta(days=8, seconds=-seconds)),
        st.integers(0, 400).map(lambda hours: NOW - timedelta(hours=hours)),
    ),
    max_size=40,
).map(lambda times: sorted(times, reverse=True))
COUNTS = st.one_of(st.integers(0, 6), st.just(UNLIMITED))
WITHIN = st.one_of(
    st.none(), st.builds(Within, years=st.integers(0, 2), months=st.integers(0, 13), days=st.integers(1, 40))
)
POLICIES = st.builds(Policy, **dict.fromkeys(COUNTED, COUNTS), within=WITHIN)

BUCKETS = {
    "hourly": "%Y-%m-%d %H",
    "daily": "%Y-%m-%d",
    "weekly": "%G-%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
}


def oracle(policy: Policy, times: Sequence[datetime], now: datetime) -> list[set[str]]:
    """The rule in other words: each rule for itself, by sorting versions into times and taking the newest of each."""
    why: list[set[str]] = [set() for _ in times]
    past = [moment for moment in times if moment < now]
    for number, moment in enumerate(times):
        if policy.within is not None and (not past or moment > policy.within.before(past[0])):
            why[number].add(f"within {policy.within}")
        if policy.last == UNLIMITED or number < policy.last:
            why[number].add("last snapshot")
    for name, pattern in BUCKETS.items():
        count = getattr(policy, name)
        of_time: dict[str, list[int]] = {}
        for number, moment in enumerate(times):
            of_time.setdefault(moment.strftime(pattern), []).append(number)
        newest = [numbers[0] for numbers in of_time.values()]
        chosen = newest if count == UNLIMITED else newest[:count]
        for number in chosen:
            why[number].add(f"{name} snapshot")
        has_left = count == UNLIMITED or len(newest) < count
        if times and has_left and not why[-1] & {f"{name} snapshot"}:
            why[-1].add(f"oldest {name} snapshot")
    return why


@given(POLICIES, TIMES)
def test_the_rule_is_the_oracles(policy: Policy, times: list[datetime]) -> None:
    assert [set(why) for why in reasons(policy, times, NOW)] == oracle(policy, times, NOW)


@given(POLICIES, TIMES)
def test_the_newest_always_stays_unless_nothing_is_said(policy: Policy, times: list[datetime]) -> None:
    found = reasons(policy, times, NOW)
    if policy.is_empty:
        assert not any(found)
    elif times:
        assert found[0]


@given(POLICIES, TIMES, st.sampled_from(COUNTED), st.integers(1, 3))
def test_keeping_more_never_deletes_more(policy: Policy, times: list[datetime], name: str, more: int) -> None:
    count = getattr(policy, name)
    for larger in (UNLIMITED if count == UNLIMITED else count + more, UNLIMITED):
        changed: dict[str, Any] = {name: larger}
        assert set(kept(policy, times)) <= set(kept(replace(policy, **changed), times))


@given(POLICIES, TIMES)
def test_forgetting_again_forgets_nothing_more(policy: Policy, times: list[datetime]) -> None:
    if not policy.is_empty:
        left = [times[number] for number in kept(policy, times)]
        assert kept(policy, left) == list(range(len(left)))


@given(POLICIES, TIMES)
def test_a_rule_keeps_no_more_than_it_says(policy: Policy, times: list[datetime]) -> None:
    found = reasons(policy, times, NOW)
    for name in COUNTED:
        of_rule = sum(any(each.endswith(f"{name} snapshot") for each in why) for why in found)
        count = getattr(policy, name)
        assert of_rule <= (len(times) if count == UNLIMITED else count)


@given(POLICIES, TIMES, st.integers(0, 40))
def test_a_version_that_comes_between_the_look_and_the_deletions_would_have_saved_none_of_those(
    policy: Policy, times: list[datetime], seconds: int
) -> None:
    if times:
        later = [times[0] + timedelta(seconds=seconds), *times]
        before = {times[number] for number in kept(policy, times)}
        assert {later[number] for number in kept(policy, later)} <= before | {later[0]}
