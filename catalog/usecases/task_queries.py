"""From a listing's query parameters to a TaskQuery.

`status` and `type` filter by equality, `sort_key` and `sort_dir` order, `marker` and `limit` page; nothing else is
known, and a parameter that is not is refused, since a filter that did nothing would show too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.errors import Invalid
from catalog.model.task import TASK_SORT_KEYS, TaskQuery, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from catalog.limits import Limits

_KNOWN: Final = frozenset({"status", "type", "marker", "limit", "sort_key", "sort_dir"})
_LONGEST_NUMBER: Final = 9


def parse_task_query(pairs: Sequence[tuple[str, str]], limits: Limits) -> TaskQuery:
    """Read the parameters; of one that is repeated the last counts. Raises Invalid, naming the parameter."""
    given = dict(pairs)
    for name in given:
        if name not in _KNOWN:
            raise Invalid(f"Invalid parameter {name[:40]!r}; it is one of {', '.join(sorted(_KNOWN))}.")
    status = given.get("status")
    return TaskQuery(
        status=None if status is None else TaskStatus(_one_of("status", status, [each.value for each in TaskStatus])),
        type=given.get("type"),
        sort_key=_one_of("sort_key", given.get("sort_key", "created_at"), TASK_SORT_KEYS),
        descending=_one_of("sort_dir", given.get("sort_dir", "desc"), ("asc", "desc")) == "desc",
        marker=given.get("marker"),
        limit=limit_of(given.get("limit"), limits),
    )


def _one_of(name: str, value: str, choices: Collection[str]) -> str:
    if value not in choices:
        raise Invalid(f"Invalid {name} {value[:40]!r}; it is one of {', '.join(sorted(choices))}.")
    return value


def limit_of(value: str | None, limits: Limits) -> int:
    """How many a page has at most. Raises Invalid."""
    if value is None:
        return limits.page_default
    if not value.isascii() or not value.isdigit():
        raise Invalid(f"Invalid limit {value[:40]!r}; it is an integer, 0 or more.")
    return min(int(value[:_LONGEST_NUMBER]), limits.page_max)
