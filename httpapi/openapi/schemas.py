"""What travels as JSON, as JSON Schema: the records of `httpapi/wire`, named for them.

Images and tasks are as at `/v2/schemas`; an image's extra properties are strings. Ours have exactly the keys that are
named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from catalog.conversion_ports import TARGETS
from catalog.model.image import Status
from catalog.model.member import MemberStatus
from httpapi.openapi import metadef_schemas as metadefs
from httpapi.openapi.operation import ref
from httpapi.wire.images import ImageRecord
from httpapi.wire.schemas import image_schema, member_schema, task_schema
from httpapi.wire.usage import NAMES as QUOTAS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.openapi.operation import Schema
    from httpapi.wire.schemas import Document, Words

_LARGEST: Final = 2**63 - 1
TEXT: Final[Schema] = {"type": "string"}
TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
TRUTH: Final[Schema] = {"type": "boolean"}
SIZE: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": _LARGEST}
SIZE_OR_NULL: Final[Schema] = {"type": ["integer", "null"], "minimum": 0, "maximum": _LARGEST}
UUID: Final[Schema] = {"type": "string", "format": "uuid"}
UUID_OR_NULL: Final[Schema] = {"type": ["string", "null"], "format": "uuid"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
RANGES: Final[Schema] = {
    "type": "array",
    "description": "[first, count] of each run of block numbers, ascending",
    "items": {"type": "array", "items": SIZE, "minItems": 2, "maxItems": 2},
}
_POINTER: Final[Schema] = {"type": "string", "pattern": "^/", "description": "an attribute (RFC 6901)"}
_OF_STORES: Final[Mapping[str, Schema]] = {
    "description": TEXT,
    "default": {"const": "true"},
    "read-only": {"const": "true"},
}
_USED: Final = {
    "type": "object",
    "properties": {"usage": SIZE, "limit": {"type": "integer", "minimum": -1, "maximum": _LARGEST}},
    "required": ["usage", "limit"],
}
_VALUE: Final[Schema] = {"type": ["string", "boolean", "integer", "array", "null"]}
_NEXT: Final[Mapping[str, Schema]] = {"next": TEXT}
_LINKS: Final[Mapping[str, Schema]] = {**_NEXT, "schema": TEXT}


def one_of(*values: str) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": sorted(values)}


def exactly(properties: Mapping[str, Schema], *, maybe: Mapping[str, Schema] | None = None) -> Schema:
    """An object that has all of `properties`, perhaps some of `maybe`, and no other key."""
    return {
        "type": "object",
        "properties": {**properties, **(maybe or {})},
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _page(noun: str, record: str, maybe: Mapping[str, Schema] = _LINKS) -> Schema:
    lines: Mapping[str, Schema] = {noun: {"type": "array", "items": ref(record)}, "first": TEXT}
    return exactly(lines, maybe=maybe)


_DELTA: Final[Mapping[str, Schema]] = {
    "id": TEXT,
    "image": UUID,
    "size": SIZE,
    "block_size": SIZE,
    "base": UUID_OR_NULL,
    "expires_at": TIME,
    "request_bytes": SIZE,
    "request_blocks": SIZE,
}

_OURS: Final[Mapping[str, Schema]] = {
    "Error": exactly({"message": TEXT, "code": TEXT, "title": TEXT}),
    "Versions": exactly(
        {
            "versions": {
                "type": "array",
                "items": exactly(
                    {
                        "id": TEXT,
                        "status": one_of("CURRENT", "SUPPORTED"),
                        "links": {"type": "array", "items": exactly({"rel": TEXT, "href": TEXT})},
                    }
                ),
            }
        }
    ),
    "Ready": exactly(
        {
            "ready": TRUTH,
            "checks": {
                "type": "array",
                "items": exactly({"name": TEXT, "state": one_of("ok", "degraded", "failed")}, maybe={"detail": TEXT}),
            },
        },
        maybe={"worker": TEXT},
    ),
    "OpenApi": {"type": "object", "required": ["openapi", "paths"]},
    "JsonSchema": {"type": "object", "required": ["name", "properties"]},
    "ImportMethods": exactly({"import-methods": {"type": "object", "required": ["description", "type", "value"]}}),
    "Stores": exactly({"stores": {"type": "array", "items": exactly({"id": TEXT}, maybe=_OF_STORES)}}),
    "DetailedStores": exactly(
        {
            "stores": {
                "type": "array",
                "items": exactly(
                    {"id": TEXT, "type": TEXT, "weight": {"type": "integer"}, "properties": {"type": "object"}},
                    maybe=_OF_STORES,
                ),
            }
        }
    ),
    "Usage": exactly({"usage": exactly({}, maybe=dict.fromkeys(QUOTAS.values(), _USED))}),
    "Images": _page("images", "Image"),
    "Patch": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"op": one_of("add", "remove", "replace"), "path": _POINTER, "value": _VALUE},
            "required": ["op", "path"],
        },
        "examples": [[{"op": "replace", "path": "/name", "value": "debian-13"}]],
    },
    "DraftPatch": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"add": _POINTER, "remove": _POINTER, "replace": _POINTER, "value": _VALUE},
            "minProperties": 1,
        },
        "examples": [[{"replace": "/name", "value": "debian-13"}]],
    },
    "NewTask": {
        "type": "object",
        "properties": {"type": TEXT, "input": {"type": "object"}},
        "required": ["type", "input"],
    },
    "NewImport": {
        "type": "object",
        "properties": {
            "method": {"type": "object", "properties": {"name": TEXT, "uri": TEXT}, "required": ["name"]},
            "stores": {"type": "array", "items": TEXT, "minItems": 1},
            "all_stores": {"type": "boolean"},
            "all_stores_must_succeed": {"type": "boolean"},
        },
        "required": ["method"],
        "examples": [{"method": {"name": "glance-direct"}}],
    },
    "NewConversion": {
        "type": "object",
        "properties": {"disk_format": one_of(*TARGETS), "name": TEXT, "compressed": {"type": "boolean"}},
        "required": ["disk_format"],
        "examples": [{"disk_format": "raw"}],
    },
    "NewMember": {"type": "object", "properties": {"member": TEXT}, "required": ["member"]},
    "MemberAnswer": {
        "type": "object",
        "properties": {"status": one_of(*MemberStatus)},
        "required": ["status"],
    },
    "NewLocation": {
        "type": "object",
        "required": ["url"],
        "additionalProperties": False,
        "properties": {
            "url": {"type": "string", "minLength": 1, "maxLength": 255},
            "validation_data": {
                "anyOf": [
                    {"type": "null"},
                    {"type": "object", "maxProperties": 0},
                    exactly({"os_hash_algo": TEXT, "os_hash_value": TEXT}),
                ]
            },
        },
    },
    "Locations": {
        "type": "array",
        "items": exactly({"url": TEXT, "metadata": {"type": "object", "additionalProperties": TEXT}}),
    },
    "Members": exactly({"members": {"type": "array", "items": ref("Member")}, "schema": TEXT}),
    "Lineage": _page("lineage", "Descent", _NEXT),
    "Descent": exactly(
        {
            "id": UUID,
            "name": TEXT_OR_NULL,
            "status": one_of(*Status),
            "created_at": TIME,
            "size": SIZE_OR_NULL,
            "changed_size": SIZE_OR_NULL,
            "parent": {"oneOf": [{"type": "null"}, exactly({"id": UUID, "visible": TRUTH})]},
        }
    ),
    "DeletedImages": _page("deleted", "DeletedImage", _NEXT),
    "DeletedImage": exactly(
        {
            "id": UUID,
            "name": TEXT_OR_NULL,
            "owner": TEXT_OR_NULL,
            "status": one_of(*Status),
            "size": SIZE_OR_NULL,
            "created_at": TIME,
            "deleted_at": TIME,
            "kept_until": TIME,
        }
    ),
    "Tasks": _page("tasks", "TaskStub"),
    "TasksOfImage": exactly({"tasks": {"type": "array", "items": ref("Task")}}),
    "ManifestSummary": exactly(
        {
            "image": UUID,
            "size": SIZE,
            "kind": one_of("fixed", "content-defined"),
            "block_size": SIZE,
            "blocks": SIZE,
            "data_blocks": SIZE,
            "manifest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "manifest_bytes": SIZE,
        }
    ),
    "Changes": exactly(
        {
            "image": UUID,
            "since": UUID,
            "size": SIZE,
            "since_size": SIZE,
            "extents": {"type": "array", "items": exactly({"offset": SIZE, "length": SIZE, "zero": TRUTH})},
        },
        maybe={"next": TEXT},
    ),
    "WantedBlocks": exactly({"blocks": RANGES}),
    "NewDelta": exactly({"size": SIZE}, maybe={"base": UUID_OR_NULL, "block_size": SIZE_OR_NULL}),
    "Delta": exactly({**_DELTA, "arrived": RANGES, "blocks": SIZE}, maybe={"next": TEXT}),
    "Deltas": exactly({"deltas": {"type": "array", "items": exactly(_DELTA)}}),
    "WantedTicket": exactly({}, maybe={"expires": {"type": ["integer", "null"], "minimum": 1}}),
    "SignedUrl": exactly(dict.fromkeys(("url", "expires_at", "cookie", "cookie_url"), TEXT)),
    "DeltaCommit": exactly({}, maybe={"blocks": SIZE_OR_NULL}),
}


def schemas(words: Words) -> dict[str, Schema]:
    """Every schema by its name in the document."""
    image, task = _attributes(image_schema(words)), _attributes(task_schema(words))
    stub = {name: each for name, each in task.items() if name not in _NOT_IN_STUBS}
    return {
        **_OURS,
        "NewImage": {
            "type": "object",
            "properties": {name: each for name, each in image.items() if not each.get("readOnly")},
            "additionalProperties": TEXT,
            "examples": [_NEW_IMAGE],
        },
        "Image": {
            "type": "object",
            "properties": image,
            "additionalProperties": TEXT,
            "required": sorted(_ALWAYS),
        },
        **metadefs.schemas(),
        "Member": exactly(_attributes(member_schema())),
        "Task": _ending(task),
        "TaskStub": _ending(stub),
    }


_NOT_IN_STUBS: Final = frozenset({"input", "result", "message", "image_id", "request_id", "user_id"})
_NEW_IMAGE: Final = {"name": "debian-13", "disk_format": "raw", "container_format": "bare"}
# A record's keys are all told, but for the one that only children have.
_ALWAYS: Final = frozenset(ImageRecord(id="", status="", visibility="", created_at="", updated_at="").to_json())
# In the schema for the reference's clients, and never told by this service.
_NEVER: Final = frozenset({"direct_url", "stores", "locations"})


def _attributes(schema: Document) -> dict[str, dict[str, Any]]:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    return {name: each for name, each in properties.items() if name not in _NEVER}


def _ending(task: Mapping[str, Schema]) -> Schema:
    """A task that is over says when it is forgotten."""
    return exactly({name: each for name, each in task.items() if name != "expires_at"}, maybe={"expires_at": TEXT})
