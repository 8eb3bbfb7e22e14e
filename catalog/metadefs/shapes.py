"""What may be said of metadata definitions, as JSON Schema: what is checked, and what clients are told.

Keys, types and lengths are the reference's, because clients make their models of them. A shape is closed: an object
whose properties are named has no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = dict[str, Any]

NAME_LENGTH: Final = 80
_TYPES: Final = ["array", "boolean", "integer", "number", "object", "string", None]


def _text(description: str = "", most: int | None = None) -> Shape:
    told = {"description": description} if description else {}
    return {"type": "string", **told, **({} if most is None else {"maxLength": most})}


def _name(description: str) -> Shape:
    return _text(description, NAME_LENGTH)


def _told(description: str) -> Shape:
    return {"type": "string", "readOnly": True, "description": description, "format": "date-time"}


def _link() -> Shape:
    return {"readOnly": True, "type": "string"}


def _ref(name: str) -> Shape:
    return {"$ref": f"#/definitions/{name}"}


def _list_of(**properties: Shape) -> Shape:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


def _definitions(*, fewest: int = 0) -> Shape:
    return {
        "positiveInteger": {"type": "integer", "minimum": 0},
        "positiveIntegerDefault0": {"allOf": [_ref("positiveInteger"), {"default": 0}]},
        "stringArray": {
            "type": "array",
            "items": {"type": "string"},
            "uniqueItems": True,
            **({"minItems": fewest} if fewest else {}),
        },
    }


_PROPERTY: Final[Shape] = {
    "name": {"type": "string", "maxLength": NAME_LENGTH},
    "title": _text(),
    "description": _text(),
    "operators": {"type": "array", "items": {"type": "string"}},
    "type": {"type": "string", "enum": _TYPES},
    "required": _ref("stringArray"),
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "maxLength": _ref("positiveInteger"),
    "minLength": _ref("positiveIntegerDefault0"),
    "pattern": {"type": "string", "format": "regex"},
    "enum": {"type": "array"},
    "readonly": {"type": "boolean"},
    "default": {},
    "items": {
        "type": "object",
        "properties": {"type": {"type": "string", "enum": _TYPES}, "enum": {"type": "array"}},
    },
    "maxItems": _ref("positiveInteger"),
    "minItems": _ref("positiveIntegerDefault0"),
    "uniqueItems": {"type": "boolean", "default": False},
    "additionalItems": {"type": "boolean"},
}
_PROPERTIES: Final[Shape] = _definitions() | {
    "property": {
        "type": "object",
        "additionalProperties": {"type": "object", "required": ["title", "type"], "properties": _PROPERTY},
    }
}

NAMESPACE: Final[Shape] = {
    "name": "namespace",
    "properties": {
        "namespace": _name("The name, which no other namespace has"),
        "display_name": _name("What people call it"),
        "description": _text("What it is for", 500),
        "visibility": {"type": "string", "description": "Who sees it", "enum": ["public", "private"]},
        "protected": {"type": "boolean", "description": "Whether deletion is refused, also of what it has"},
        "owner": _text("The project that owns it", 255),
        "created_at": _told("When it was made"),
        "updated_at": _told("When its own attributes last changed"),
        "schema": _link(),
        "self": _link(),
        "resource_type_associations": _list_of(name=_text(), prefix=_text(), properties_target=_text()),
        "properties": _ref("property"),
        "objects": _list_of(
            name=_text(), description=_text(), required=_ref("stringArray"), properties=_ref("property")
        ),
        "tags": _list_of(name=_text()),
    },
    "additionalProperties": False,
    "required": ["namespace"],
    "definitions": _PROPERTIES,
}

OBJECT: Final[Shape] = {
    "name": "object",
    "properties": {
        "name": _name("The name, which no other object of the namespace has"),
        "description": _text("What it is"),
        "required": _ref("stringArray"),
        "properties": _ref("property"),
        "schema": _link(),
        "self": _link(),
        "created_at": _told("When it was made"),
        "updated_at": _told("When it last changed"),
    },
    "additionalProperties": False,
    "required": ["name"],
    "definitions": _PROPERTIES,
}

PROPERTY: Final[Shape] = {
    "name": "property",
    "properties": _PROPERTY,
    "additionalProperties": False,
    "required": ["type", "title", "name"],
    "definitions": _definitions(fewest=1),
}

TAG: Final[Shape] = {
    "name": "tag",
    "properties": {
        "name": _name("The tag, once in a namespace"),
        "created_at": _told("When it was made"),
        "updated_at": _told("When it last changed"),
    },
    "additionalProperties": False,
    "required": ["name"],
}

TAGS: Final[Shape] = {
    "name": "tags",
    "properties": {
        "tags": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": _text()},
                "required": ["name"],
                "additionalProperties": False,
            },
        }
    },
    "additionalProperties": False,
    "required": ["tags"],
}
"""What a request says that brings several tags; clients are told of no such schema."""

ASSOCIATION: Final[Shape] = {
    "name": "resource_type_association",
    "properties": {
        "name": _name("The type of resource, as Heat calls it where it can: OS::Nova::Server"),
        "prefix": _name("What stands before each property's name where it is put on such a resource, as hw_"),
        "properties_target": _name("Which of a resource's several sets of properties is meant"),
        "created_at": _told("When the two were associated"),
        "updated_at": _told("When that last changed"),
    },
    "additionalProperties": False,
    "required": ["name"],
}


def _page(name: str, items: Shape) -> Shape:
    text = {"type": "string"}
    links = {"first": "{first}", "next": "{next}", "describedby": "{schema}"}
    return {
        "name": name,
        "properties": {name: items, "first": text, "next": text, "schema": text},
        "links": [{"rel": relation, "href": target} for relation, target in links.items()],
    }


def _listed(name: str, shape: Shape) -> Shape:
    item = {key: each for key, each in shape.items() if key != "definitions"}
    definitions = {"definitions": shape["definitions"]} if "definitions" in shape else {}
    return _page(name, {"type": "array", "items": item}) | definitions


def _by_name(name: str, shape: Shape) -> Shape:
    item = {key: each for key, each in shape.items() if key != "definitions"} | {"required": ["type", "title"]}
    return _page(name, {"type": "object", "additionalProperties": item}) | {"definitions": shape["definitions"]}


SCHEMAS: Final[Mapping[str, Shape]] = {
    "namespace": NAMESPACE,
    "namespaces": _listed("namespaces", NAMESPACE),
    "resource_type": ASSOCIATION,
    "resource_types": _listed("resource_type_associations", ASSOCIATION),
    "object": OBJECT,
    "objects": _listed("objects", OBJECT),
    "property": PROPERTY,
    "properties": _by_name("properties", PROPERTY),
    "tag": TAG,
    "tags": _listed("tags", TAG),
}
"""What clients are told, by the end of its path."""
