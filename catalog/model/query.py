"""What a listing asks for, as values: filters, order, page, and whose images are in reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from catalog.model.member import MemberStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from catalog.model.image import Image, Visibility

SORT_KEYS: Final = frozenset(
    {"name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"}
)
"""The attributes that a listing can be ordered by."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """A base attribute has one of these values."""

    attribute: str
    values: tuple[str | int | bool, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """A number or a time lies from `low` to `high`, both inclusive, None for no bound; `outside` turns it round."""

    attribute: str
    low: int | datetime | None = None
    high: int | datetime | None = None
    outside: bool = False


@dataclass(frozen=True, slots=True)
class PropertyIs:
    """An extra property has exactly this value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class HasTag:
    """The image bears this tag."""

    tag: str


Filter: TypeAlias = OneOf | Between | PropertyIs | HasTag
"""One condition; a listing's conditions all hold."""


def narrowed(filters: Iterable[Filter]) -> Sequence[Filter]:
    """The same images by conditions that lead to them better.

    Of one attribute there is one range: two that hold for many images may hold for few together. And what was changed
    last before some time was made before it, which an index in order of age can use.
    """
    others: list[Filter] = []
    ranges: dict[str, Between] = {}
    for each in filters:
        if isinstance(each, Between) and not each.outside:
            ranges[each.attribute] = _both(ranges.get(each.attribute, each), each)
        else:
            others.append(each)
    changed = ranges.get("updated_at")
    if changed is not None and changed.high is not None:
        made = Between("created_at", high=changed.high)
        ranges["created_at"] = _both(ranges.get("created_at", made), made)
    return [*others, *ranges.values()]


def _both(one: Between, other: Between) -> Between:
    return Between(
        one.attribute,
        low=max((low for low in (one.low, other.low) if low is not None), default=None),
        high=min((high for high in (one.high, other.high) if high is not None), default=None),
    )


@dataclass(frozen=True, slots=True)
class Sort:
    """One attribute to order by; images without a value come before all others when ascending."""

    key: str
    descending: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery:
    """A listing's question.

    `visibility` None asks for what a caller sees by default; `every_visibility` for other projects' community images
    too. `answers` says which images are meant of those that are shared with the caller's project. `sort` is never empty
    and its keys are distinct; `marker` is the id of the last image of the page before.
    A page ends after `limit` images, or earlier, when their text exceeds `page_bytes`; one image always fits.
    """

    filters: tuple[Filter, ...] = ()
    visibility: Visibility | None = None
    every_visibility: bool = False
    answers: frozenset[MemberStatus] = frozenset({MemberStatus.ACCEPTED})
    os_hidden: bool = False
    sort: tuple[Sort, ...] = (Sort("created_at"), Sort("id"))
    marker: str | None = None
    limit: int = 25
    page_bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose images a listing reaches.

    `everything`: all. Otherwise those that `project` owns, other owners' images under the visibilities `others`, and
    those that are shared with it and of which it said one of `answers`.
    """

    everything: bool
    project: str
    others: frozenset[Visibility]
    answers: frozenset[MemberStatus] = frozenset()


@dataclass(frozen=True, slots=True)
class ImagePage:
    """One page of a listing; `more` tells that images follow it."""

    images: tuple[Image, ...]
    more: bool
