"""Which versions of an image to keep: restic's rule (its `forget`), so that what people know of it holds here, too.

- Versions are looked at from the newest to the oldest. Each rule of a kind of time (hour, day, week, month, year) keeps
  the newest of each such time that has any, for as many as it says; times without one do not count.
- Each rule counts for itself, and a version stays if one of them keeps it.
- A rule that has some left at the end keeps the very oldest version, too: so that a history reaches as far back as it
  can while it is young.
- `within` keeps what is younger than that, measured from the newest version, not from now.
- Hours, days and so on are those of the clock on the wall: midnight, Monday, the first of the month. Times are given in
  the zone that is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

UNLIMITED: Final = -1
"""As a number to keep: all that the rule knows."""

_WITHIN: Final = re.compile(r"(?:[0-9]{1,6}[ymdh])+", re.ASCII)
_PARTS: Final = {"y": "years", "m": "months", "d": "days", "h": "hours"}
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """A time by the calendar: `1y6m2d3h`, m being months."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> Within:
        """Read `1y6m2d3h`, any of the four; ValueError says what was expected."""
        found = re.findall(r"([0-9]+)([ymdh])", text) if _WITHIN.fullmatch(text) else []
        given = {_PARTS[letter]: int(number) for number, letter in found}
        if not found or len(given) < len(found) or not any(given.values()):
            raise ValueError(
                f"expected years, months, days and hours such as 14d, 6m or 1y6m2d3h, not {text[:40]!r} (a week is 7d)"
            )
        return cls(**given)

    def before(self, moment: datetime) -> datetime:
        """So long before `moment`: a day that the month has not is one of the next, as Go and restic have it."""
        months = moment.year * 12 + moment.month - 1 - self.years * 12 - self.months
        if months < 12:
            return _LONG_AGO
        first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
        try:
            return first + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)
        except OverflowError:
            return _LONG_AGO

    def __str__(self) -> str:
        """As it is written."""
        return "".join(f"{getattr(self, name)}{letter}" for letter, name in _PARTS.items() if getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many to keep by each rule: 0 is no rule, UNLIMITED keeps all; None is no `within`."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Within | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said, so that nothing would be kept."""
        return self == Policy()

    def to_json(self) -> dict[str, object]:
        """The rules that were given."""
        counts = {name: getattr(self, name) for name in _COUNTED}
        told: dict[str, object] = {name: "unlimited" if n == UNLIMITED else n for name, n in counts.items() if n}
        return told if self.within is None else told | {"within": str(self.within)}


_COUNTED: Final = tuple(each.name for each in fields(Policy) if each.name != "within")


def reasons(policy: Policy, times: Sequence[datetime], now: datetime) -> list[tuple[str, ...]]:
    """What keeps each version, in restic's words; nothing: it goes.

    `times` are when the versions were made, newest first, with their zone. Those after `now` are never the newest that
    `within` is measured from.
    """
    found: list[list[str]] = [[] for _ in times]
    if policy.within is not None:
        newest = max((moment for moment in times if moment < now), default=_LONG_AGO)
        start = _LONG_AGO if newest is _LONG_AGO else policy.within.before(newest)
        for why, moment in zip(found, times, strict=True):
            if moment > start:
                why.append(f"within {policy.within}")
    for name, count in ((name, getattr(policy, name)) for name in _COUNTED):
        for number, oldest in _kept([_TIME_OF[name](moment, at) for at, moment in enumerate(times)], count):
            found[number].append(f"{'oldest ' if oldest else ''}{name} snapshot")
    return [tuple(why) for why in found]


def _kept(whens: Sequence[object], count: int) -> Iterable[tuple[int, bool]]:
    """The versions that one rule keeps, by number; and of each, whether only for being the oldest."""
    before: object = None
    for number, when in enumerate(whens):
        if count == 0:
            return
        is_new = when != before
        if is_new or number == len(whens) - 1:
            yield number, not is_new
            before = when
            count -= count > 0


_TIME_OF: Final[dict[str, Callable[[datetime, int], object]]] = {
    # Each version is of a time of its own.
    "last": lambda _, number: number,
    "hourly": lambda moment, _: (moment.date(), moment.hour),
    "daily": lambda moment, _: moment.date(),
    "weekly": lambda moment, _: moment.isocalendar()[:2],
    "monthly": lambda moment, _: (moment.year, moment.month),
    "yearly": lambda moment, _: moment.year,
}
