"""What a listing asks for, as values: filters, order, page, and whose images are in reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from catalog.model.member import MemberStatus

if TYPE_CHECKING:
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
