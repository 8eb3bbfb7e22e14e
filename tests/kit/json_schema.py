"""What of JSON Schema the Images API's schemas use, so that an answer can be held against one."""

from __future__ import annotations

import re
from typing import Any

_KINDS: dict[str, type | tuple[type, ...]] = {
    "null": type(None), "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "array": list, "object": dict,
}  # fmt: skip
_KNOWN = {
    "name", "links", "description", "readOnly", "writeOnly", "is_base", "type", "enum", "pattern", "maxLength",
    "minLength", "format", "$ref", "definitions", "allOf", "minimum", "uniqueItems", "minItems", "default",
    "properties", "additionalProperties", "items", "required",
}  # fmt: skip


def faults(schema: dict[str, Any], value: object, at: str = "$") -> list[str]:
    """Where the value is not as the schema says; a keyword that is not known here is a fault too."""
    schema = _resolved(schema, schema.get("definitions", {}))
    found = [f"{at}: keyword {each}" for each in schema if each not in _KNOWN]
    if "type" in schema and not _is_one_of(value, schema["type"]):
        return [*found, f"{at}: {value!r} is no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value):
            found.append(f"{at}: {value!r} does not match")
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            found.append(f"{at}: has {len(value)} characters")
    if isinstance(value, list):
        found += [each for n, item in enumerate(value) for each in faults(schema.get("items", {}), item, f"{at}[{n}]")]
    found += [fault for each in schema.get("allOf", ()) for fault in faults(each, value, at)]
    if isinstance(value, int | float) and value < schema.get("minimum", value):
        found.append(f"{at}: {value} is too small")
    if isinstance(value, dict):
        found += _faults_of_object(schema, value, at)
    return found


def _resolved(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its definitions where they are referred to."""
    if isinstance(schema, list):
        return [_resolved(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str) and schema["$ref"].startswith("#/definitions/"):
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _resolved(each, definitions) for key, each in schema.items() if key != "definitions"}


def _faults_of_object(schema: dict[str, Any], value: dict[str, object], at: str) -> list[str]:
    found = [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, item in value.items():
        if name not in properties and others is False:
            found.append(f"{at}.{name}: not known")
        found += faults(properties.get(name, others or {}), item, f"{at}.{name}")
    return found


def _is_one_of(value: object, kinds: str | list[str]) -> bool:
    wanted = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, bool):
        return "boolean" in wanted
    return any(isinstance(value, _KINDS[kind]) for kind in wanted)
