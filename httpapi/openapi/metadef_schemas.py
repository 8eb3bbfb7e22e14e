"""Metadata definitions as JSON Schema: the catalog's own shapes, under names of the document's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from catalog.metadefs import shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.openapi.operation import Schema

_NAMES: Final = {
    "namespace": "MetadefNamespace",
    "namespaces": "MetadefNamespaces",
    "object": "MetadefObject",
    "objects": "MetadefObjects",
    "property": "MetadefProperty",
    "properties": "MetadefProperties",
    "tag": "MetadefTag",
    "resource_type": "MetadefAssociation",
}
_DEFINED: Final = {
    "positiveInteger": "MetadefCount",
    "positiveIntegerDefault0": "MetadefCountOrNone",
    "stringArray": "MetadefTexts",
    "property": "MetadefDefinitions",
}


def schemas() -> Mapping[str, Schema]:
    """Every schema of metadata definitions, by its name in the document."""
    definitions = shapes.NAMESPACE["definitions"]
    tags = {"type": "object", "properties": {"tags": {"type": "array", "items": _TAG_NAME}}, "required": ["tags"]}
    return {
        **{_DEFINED[name]: _here(each) for name, each in definitions.items()},
        **{name: _whole(shapes.SCHEMAS[key]) for key, name in _NAMES.items()},
        "MetadefTags": tags,
        "MetadefAssociations": _list_of(
            "resource_type_associations", {"$ref": "#/components/schemas/MetadefAssociation"}
        ),
        "MetadefResourceTypes": _list_of("resource_types", _RESOURCE_TYPE),
    }


_TAG_NAME: Final = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
_RESOURCE_TYPE: Final = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("name", "created_at", "updated_at")},
    "required": ["created_at", "name", "updated_at"],
}


def _list_of(name: str, item: Schema) -> Schema:
    return {"type": "object", "properties": {name: {"type": "array", "items": item}}, "required": [name]}


def _whole(shape: shapes.Shape) -> Schema:
    """The shape without what OpenAPI has no use for."""
    kept = {key: each for key, each in shape.items() if key not in {"name", "links", "definitions"}}
    found: dict[str, Any] = _here({"type": "object", **kept})
    return found


def _here(value: Any) -> Any:  # noqa: ANN401 - a piece of JSON
    """The same with its references into this document, and without the names of schemas in schemas."""
    if isinstance(value, dict):
        if "$ref" in value:
            return {"$ref": f"#/components/schemas/{_DEFINED[value['$ref'].rpartition('/')[2]]}"}
        named = isinstance(value.get("name"), str) and "properties" in value
        return {key: _here(each) for key, each in value.items() if not (named and key == "name")}
    return [_here(each) for each in value] if isinstance(value, list) else value
