"""From what a caller, or a file, says to typed values: checked against the shapes, each part in one way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from catalog.limits import check_addressable
from catalog.metadefs.checking import check
from catalog.metadefs.kinds import KINDS
from catalog.metadefs.shapes import NAME_LENGTH, NAMESPACE, TAGS
from catalog.model.errors import Invalid, LimitExceeded, ReadOnlyAttribute
from catalog.model.metadef import Kind, Part, Shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

_RESERVED: Final = frozenset({"created_at", "updated_at", "self", "schema"})


@dataclass(frozen=True, slots=True)
class SaidOfNamespace:
    """A namespace as it was said, and what it is to have; what was not said is None, or what it then is."""

    name: str
    display_name: str | None
    description: str | None
    visibility: Shown
    protected: bool
    owner: str | None
    parts: Sequence[Part]


def read_namespace(said: Mapping[str, object], *, at: datetime) -> SaidOfNamespace:
    """A whole namespace. Raises Invalid, ReadOnlyAttribute, LimitExceeded."""
    _refuse_reserved(said, _RESERVED)
    check(said, NAMESPACE, "The namespace")
    document: Mapping[str, Any] = said
    return SaidOfNamespace(
        name=_named(document["namespace"], "namespace"),
        display_name=document.get("display_name"),
        description=document.get("description"),
        visibility=Shown(document.get("visibility", Shown.PRIVATE)),
        protected=document.get("protected", False),
        owner=document.get("owner"),
        parts=[part for kind in Kind for part in _parts_in(document, kind, at)],
    )


def read_part(kind: Kind, said: Mapping[str, object], *, at: datetime) -> Part:
    """One thing that a namespace is to have. Raises Invalid, ReadOnlyAttribute, LimitExceeded."""
    of = KINDS[kind]
    _refuse_reserved(said, of.reserved)
    check(said, of.shape, f"The {of.noun}")
    return _part(kind, said, at)


def read_tags(said: Mapping[str, object], *, at: datetime) -> list[Part]:
    """Several tags. Raises Invalid, ReadOnlyAttribute, LimitExceeded."""
    _refuse_reserved(said, KINDS[Kind.TAGS].reserved)
    check(said, TAGS, "The request")
    tags: Any = said["tags"]
    check_number("The request", Kind.TAGS, len(tags))
    return [read_part(Kind.TAGS, each, at=at) for each in tags]


def check_number(whose: str, kind: Kind, number: int) -> None:
    """Raise LimitExceeded when `whose` things of a kind would be too many for a namespace."""
    if number > (most := KINDS[kind].most):
        raise LimitExceeded(f"{whose} would have {number} {kind.value}; {most} are the most.")


def _parts_in(document: Mapping[str, Any], kind: Kind, at: datetime) -> list[Part]:
    said = document.get(KINDS[kind].key, ())
    check_number("The namespace", kind, len(said))
    if isinstance(said, dict):
        return [read_part(kind, {**each, "name": name}, at=at) for name, each in said.items()]
    return [read_part(kind, each, at=at) for each in said]


def _part(kind: Kind, said: Mapping[str, Any], at: datetime) -> Part:
    name = _named(said["name"], KINDS[kind].noun)
    content = {key: each for key, each in said.items() if key != "name"}
    if kind is Kind.PROPERTIES:
        content = _definition(content)
    elif kind is Kind.OBJECTS:
        properties = content.get("properties", {})
        content["required"] = content.get("required", [])
        content["properties"] = {_named(key, "property"): _definition(each) for key, each in properties.items()}
    return Part(kind=kind, name=name, content=content, created_at=at, updated_at=at)


def _definition(said: Mapping[str, Any]) -> dict[str, Any]:
    """A property's definition: its name is its key, and its default a text, as clients of this API know it."""
    content = {key: each for key, each in said.items() if key != "name"}
    default = content.get("default")
    if isinstance(default, bool | int | float):
        content["default"] = str(default)
    return content


def _named(name: str, noun: str) -> str:
    if not name:
        raise Invalid(f"A {noun} needs a name.")
    if len(name) > NAME_LENGTH:
        raise Invalid(f"The name of a {noun} has {len(name)} characters; {NAME_LENGTH} are the most.")
    check_addressable(noun, name)
    return name


def _refuse_reserved(said: Mapping[str, object], reserved: Collection[str]) -> None:
    for name in reserved:
        if name in said:
            raise ReadOnlyAttribute(f"Attribute '{name}' is read-only.")
