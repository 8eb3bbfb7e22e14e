"""Names of properties as a type of resource has them: with the prefix of its association."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from catalog.model.metadef import Kind, Whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.metadef import Part


def prefix_of(associations: Sequence[Part], resource_type: str) -> str | None:
    """What stands before each property's name on this type of resource; None if there is no association with it."""
    for each in associations:
        if each.name == resource_type:
            return str(each.content.get("prefix", ""))
    return None


def prefixed(found: Whole, resource_type: str) -> Whole:
    """The namespace with its properties' names, inside of objects too, as this type of resource has them."""
    prefix = prefix_of(found.parts[Kind.ASSOCIATIONS], resource_type)
    if not prefix:
        return found
    properties = [replace(part, name=prefix + part.name) for part in found.parts[Kind.PROPERTIES]]
    objects = [replace(part, content=_in_object(dict(part.content), prefix)) for part in found.parts[Kind.OBJECTS]]
    return Whole(found.namespace, {**found.parts, Kind.PROPERTIES: properties, Kind.OBJECTS: objects})


def _in_object(content: dict[str, Any], prefix: str) -> dict[str, Any]:
    return content | {
        "required": [prefix + name for name in content["required"]],
        "properties": {prefix + name: each for name, each in content["properties"].items()},
    }
