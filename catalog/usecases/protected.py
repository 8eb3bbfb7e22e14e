"""The operator's protection of properties, asked for by what callers want to do with an image.

A property that the caller may not read is none to the caller, in every answer: it is not shown, not found by a filter,
not there for whoever replaces or removes it, and stays when something else changes. To set such a one takes the right
to create and the right to change, whether it is there or not: so neither a refusal nor its lack tells, and nobody
writes over what they may not change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.model.change import CHANGEABLE, Act, Change
from catalog.model.errors import Conflict, ProtectedProperty
from catalog.model.query import PropertyIs
from catalog.property_protection import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from catalog.model.image import Image
    from catalog.model.query import ImageQuery
    from catalog.property_protection import PropertyRights


def check_may_create(rights: PropertyRights, names: Iterable[str]) -> None:
    """Refuse properties that the caller may not create: ProtectedProperty."""
    for name in names:
        _require(rights, name, Operation.CREATE)


def is_hidden(rights: PropertyRights, name: str) -> bool:
    """Whether this is a property that the caller may not read."""
    return name not in CHANGEABLE and not rights.may(Operation.READ, name)


def asks_for_hidden(rights: PropertyRights, query: ImageQuery) -> bool:
    """Whether a listing filters by a property that the caller may not read: then no image has it."""
    return any(isinstance(each, PropertyIs) and is_hidden(rights, each.name) for each in query.filters)


def permitted(rights: PropertyRights, image: Image, change: Change) -> Change:
    """The change that the caller may make; one of a base attribute is the policy's matter.

    Raises ProtectedProperty, and Conflict for what is not there as far as the caller is told.
    """
    name = change.name
    if name in CHANGEABLE:
        return change
    removes = change.act is Act.REMOVE or change.value is None
    if is_hidden(rights, name):
        if change.act in {Act.REPLACE, Act.REMOVE}:
            raise Conflict(f"Property {name[:255]} does not exist.")
        for operation in (Operation.CREATE, Operation.UPDATE, *((Operation.DELETE,) if removes else ())):
            _require(rights, name, operation)
        return replace(change, act=Act.PUT)
    if name not in image.properties:
        # What must be there is refused when the change is made.
        if change.act in {Act.ADD, Act.PUT} and not removes:
            _require(rights, name, Operation.CREATE)
        return change
    _require(rights, name, Operation.DELETE if removes else Operation.UPDATE)
    return change


def _require(rights: PropertyRights, name: str, operation: Operation) -> None:
    if not rights.may(operation, name):
        raise ProtectedProperty(f"Attribute '{name[:255]}' is reserved: you are not permitted to {operation.value} it.")
