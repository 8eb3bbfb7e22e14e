"""The kinds of things that a namespace has, as a table: all that tells one kind from another.

A new kind is a line here, and its shape. Nothing else in the catalog knows one kind by name, but for what only one has:
several tags in one request, prefixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from catalog.metadefs import shapes
from catalog.model.metadef import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.metadefs.shapes import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesOfKind:
    """The policy's rule for each act, by the reference's names; None where there is no such act."""

    list: str
    show: str
    add: str
    remove: str
    add_several: str | None = None
    change: str | None = None
    clear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfPart:
    """One kind: what people call one of it, its key in a namespace's document, its shape, how many, and its rules.

    `reserved` is what requests may not say. `by_name`: so they are ordered; else as they came, tags the newest first.
    """

    noun: str
    key: str
    shape: Shape
    rules: RulesOfKind
    most: int = 1000
    reserved: frozenset[str] = frozenset({"created_at", "updated_at"})
    by_name: bool = False


KINDS: Final[Mapping[Kind, KindOfPart]] = {
    Kind.OBJECTS: KindOfPart(
        noun="object",
        key="objects",
        shape=shapes.OBJECT,
        rules=RulesOfKind(
            list="get_metadef_objects",
            show="get_metadef_object",
            add="add_metadef_object",
            change="modify_metadef_object",
            remove="delete_metadef_object",
            clear=("delete_metadef_namespace",),
        ),
        reserved=frozenset({"created_at", "updated_at", "self", "schema"}),
        by_name=True,
    ),
    Kind.PROPERTIES: KindOfPart(
        noun="property",
        key="properties",
        shape=shapes.PROPERTY,
        rules=RulesOfKind(
            list="get_metadef_properties",
            show="get_metadef_property",
            add="add_metadef_property",
            change="modify_metadef_property",
            remove="remove_metadef_property",
            clear=("delete_metadef_namespace",),
        ),
        by_name=True,
    ),
    Kind.TAGS: KindOfPart(
        noun="tag",
        key="tags",
        shape=shapes.TAG,
        rules=RulesOfKind(
            list="get_metadef_tags",
            show="get_metadef_tag",
            add="add_metadef_tag",
            add_several="add_metadef_tags",
            change="modify_metadef_tag",
            remove="delete_metadef_tag",
            clear=("delete_metadef_namespace", "delete_metadef_tags"),
        ),
    ),
    Kind.ASSOCIATIONS: KindOfPart(
        noun="resource type",
        key="resource_type_associations",
        shape=shapes.ASSOCIATION,
        # A list of namespaces has those of each.
        most=100,
        rules=RulesOfKind(
            list="list_metadef_resource_types",
            show="get_metadef_resource_type",
            add="add_metadef_resource_type_association",
            remove="remove_metadef_resource_type_association",
        ),
    ),
}

LARGEST: Final = 1 << 20
"""The characters that all of a namespace's parts may have together, about what one request can bring."""
