"""From a list's query parameters to what it asks of metadata definitions.

Parameters that are not known are left out of account, as the reference does it: dashboards send such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.errors import Invalid
from catalog.model.metadef import NAMESPACE_SORT_KEYS, PART_SORT_KEYS, NamespaceQuery, Page, Shown
from catalog.usecases.task_queries import limit_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from catalog.limits import Limits


def parse_namespace_query(pairs: Sequence[tuple[str, str]], limits: Limits) -> NamespaceQuery:
    """Read the parameters; of one that is repeated the last counts. Raises Invalid, naming the parameter."""
    limits.check_parameters(len(pairs))
    given = dict(pairs)
    types = given.get("resource_types")
    wanted = None if types is None else frozenset(types.split(","))
    limits.check_parameters(len(wanted or ()))
    visibility = given.get("visibility")
    return NamespaceQuery(
        sort_key=_one_of("sort_key", given.get("sort_key", "created_at"), NAMESPACE_SORT_KEYS),
        descending=_one_of("sort_dir", given.get("sort_dir", "desc"), ("asc", "desc")) == "desc",
        marker=given.get("marker"),
        limit=limit_of(given.get("limit"), limits),
        visibility=None if visibility is None else _one_of("visibility", visibility, [*Shown]),
        resource_types=wanted,
    )


def parse_page(pairs: Sequence[tuple[str, str]], limits: Limits) -> Page:
    """The same of what a namespace has, where no limit means all."""
    given = dict(pairs)
    limit = given.get("limit")
    return Page(
        sort_key=_one_of("sort_key", given.get("sort_key", "id"), PART_SORT_KEYS),
        descending=_one_of("sort_dir", given.get("sort_dir", "desc"), ("asc", "desc")) == "desc",
        marker=given.get("marker"),
        limit=None if limit is None else limit_of(limit, limits),
    )


def _one_of(name: str, value: str, choices: Collection[str]) -> str:
    if value not in choices:
        raise Invalid(f"Invalid {name} {value[:40]!r}; it is one of {', '.join(sorted(choices))}.")
    return value
