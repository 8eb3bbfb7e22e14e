"""Metadata definitions: namespaces, and what each has. They describe what properties of images and others mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class Kind(StrEnum):
    """What a namespace has, by the word that stands in paths."""

    OBJECTS = "objects"
    PROPERTIES = "properties"
    TAGS = "tags"
    ASSOCIATIONS = "resource_types"


class Shown(StrEnum):
    """Who sees a namespace: everybody, or the project that owns it."""

    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace's own attributes; its name is its id, and can change."""

    name: str
    owner: str
    created_at: datetime
    updated_at: datetime
    display_name: str | None = None
    description: str | None = None
    visibility: Shown = Shown.PRIVATE
    protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing that a namespace has; `content` is all that is said of it beside its name, as JSON."""

    kind: Kind
    name: str
    created_at: datetime
    updated_at: datetime
    content: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A type of resource that a namespace was once associated with, such as `OS::Glance::Image`."""

    name: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Whole:
    """A namespace with what it has, each kind in its order."""

    namespace: Namespace
    parts: Mapping[Kind, Sequence[Part]]


NAMESPACE_SORT_KEYS: Final = frozenset(
    {"namespace", "display_name", "description", "visibility", "protected", "owner", "created_at", "updated_at", "id"}
)
"""What namespaces can be ordered by; `id` is the order in which they came."""
PART_SORT_KEYS: Final = frozenset({"name", "created_at", "updated_at", "id"})
"""The same of what they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a list asks: an order, where it goes on, and how many. The marker is a name; no limit is all."""

    sort_key: str = "created_at"
    descending: bool = True
    marker: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceQuery(Page):
    """Which namespaces a list asks for; of `resource_types` one is enough, None asks for no association."""

    visibility: str | None = None
    resource_types: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a namespace has: how many of each kind, and the characters of them all."""

    counts: Mapping[Kind, int]
    size: int
