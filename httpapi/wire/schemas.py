"""The schemas of what this API tells, as JSON documents: clients build their own models from them.

Keys, types and lengths are the reference's, because clients are written for them; the words that a value can be come
from whoever serves it, so that they are never others than those that are served.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from httpapi.wire.images import PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Document = dict[str, object]

IMAGE_ID: Final = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
"""The pattern of a UUID, character by character the reference's."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the values of attributes can be, in the order in which they are told; `known` are extra properties."""

    statuses: Sequence[str]
    visibilities: Sequence[str]
    container_formats: Sequence[str]
    disk_formats: Sequence[str]
    task_types: Sequence[str]
    task_statuses: Sequence[str]
    known: Mapping[str, Document] = field(default_factory=dict)


def known_property(meaning: str, *, is_image_id: bool = False) -> Document:
    """The schema of an extra property that clients should offer by name."""
    shape = _maybe("string", pattern=IMAGE_ID) if is_image_id else _text()
    return shape | {"description": meaning, "is_base": False}


def schemas(words: Words) -> dict[str, Document]:
    """Every schema by its name, which is the end of its path."""
    image = image_schema(words)
    member = member_schema()
    task = task_schema(words)
    return {
        "image": image,
        "images": _list_of("images", image, paged=True),
        "member": member,
        "members": _list_of("members", member),
        "task": task,
        "tasks": _list_of("tasks", _without(task, "input", "result", "message")),
    }


def image_schema(words: Words) -> Document:
    """One image: its attributes, the extra properties that have a meaning, and any others as strings."""
    attributes: dict[str, Document] = {
        "id": _text(IMAGE_ID) | _told("The image's id, a UUID"),
        "name": _maybe("string", maxLength=255) | _told("What people call the image"),
        "status": _one_of(words.statuses) | _read_only("Where the image stands in its life"),
        "visibility": _one_of(words.visibilities) | _told("Who sees the image beside its owner"),
        "protected": _truth() | _told("Whether deletion is refused"),
        "os_hidden": _truth() | _told("Whether lists leave the image out unless they ask for hidden ones"),
        "checksum": _maybe("string", maxLength=32) | _read_only("The MD5 of the image's bytes, in hex"),
        "os_hash_algo": _maybe("string", maxLength=64) | _read_only("The algorithm of os_hash_value"),
        "os_hash_value": _maybe("string", maxLength=128) | _read_only("The hash of the image's bytes, in hex"),
        "owner": _maybe("string", maxLength=255) | _told("The project that owns the image"),
        "size": _maybe("integer") | _read_only("How many bytes the image has"),
        "virtual_size": _maybe("integer") | _read_only("How many bytes the disk in the image has"),
        "container_format": _one_of(words.container_formats, or_null=True) | _told("What the disk is wrapped in"),
        "disk_format": _one_of(words.disk_formats, or_null=True) | _told("How the disk is written"),
        "created_at": _text() | _read_only("When the image was made"),
        "updated_at": _text() | _read_only("When the image last changed"),
        "tags": {"type": "array", "items": _text(maxLength=255)} | _told("Words by which the image can be found"),
        "direct_url": _text() | _read_only("A place of the bytes; told by setting"),
        "min_ram": {"type": "integer"} | _told("The memory that a server needs for the image, in MB"),
        "min_disk": {"type": "integer"} | _told("The disk that a server needs for the image, in GB"),
        "self": _text() | _read_only("The path of this record"),
        "file": _text() | _read_only("The path of the image's bytes"),
        "stores": _text() | _read_only("The stores that have the bytes; not told where there is one"),
        "schema": _text() | _read_only("The path of this schema"),
        "locations": {"type": "array", "items": _location()} | _told("Where the bytes lie; told by setting"),
    }
    # No base attribute: only images that were made with one have it, and it is told by no other service.
    parent = known_property("The image that this one was made from; set when it is made.", is_image_id=True)
    links = {"self": "{self}", "enclosure": "{file}", "describedby": "{schema}"}
    return {
        "name": "image",
        "properties": attributes | {PARENT: parent} | dict(words.known),
        "additionalProperties": _text(),
        "links": _links(links),
    }


def member_schema() -> Document:
    """A project that an image is shared with."""
    return {
        "name": "member",
        "properties": {
            "member_id": _text() | _told("The project that the image is shared with"),
            "image_id": _text(IMAGE_ID) | _told("The image that is shared"),
            "created_at": _text() | _told("When it was shared"),
            "updated_at": _text() | _told("When the status last changed"),
            "status": _one_of(("pending", "accepted", "rejected")) | _told("What the project made of it"),
            "schema": _text() | {"readOnly": True},
        },
    }


def task_schema(words: Words) -> Document:
    """Work that goes on after its request was answered; null where the service gave itself the task."""
    return {
        "name": "task",
        "properties": {
            "id": _text(IMAGE_ID) | _told("The task's id"),
            "type": _one_of(words.task_types) | _told("What is done"),
            "status": _one_of(words.task_statuses) | _told("Where the task stands"),
            "input": _maybe("object") | _told("What the task was given"),
            "result": _maybe("object") | _told("What came of it, or how far it is"),
            "owner": _maybe("string") | _told("The project that the task belongs to"),
            "message": _text() | _told("Why the task failed"),
            "image_id": _maybe("string") | _told("The image that the task is about"),
            "request_id": _maybe("string") | _told("The request that the task came from"),
            "user_id": _maybe("string") | _told("Who made that request"),
            "expires_at": _maybe("string") | _told("When the task may be forgotten"),
            "created_at": _text() | _told("When the task was made"),
            "updated_at": _text() | _told("When the task last changed"),
            "self": _text() | {"readOnly": True},
            "schema": _text() | {"readOnly": True},
        },
    }


def _list_of(name: str, item: Document, *, paged: bool = False) -> Document:
    pages = {"first": _text(), "next": _text()} if paged else {}
    links = {"first": "{first}", "next": "{next}"} if paged else {}
    properties = {name: {"type": "array", "items": item}} | pages | {"schema": _text()}
    return {"name": name, "properties": properties, "links": _links(links | {"describedby": "{schema}"})}


def _without(schema: Document, *names: str) -> Document:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    return schema | {"properties": {name: each for name, each in properties.items() if name not in names}}


def _location() -> Document:
    validation = {
        "type": "object",
        "writeOnly": True,
        "additionalProperties": False,
        "properties": {
            "checksum": _text(minLength=32, maxLength=32),
            "os_hash_algo": _text(maxLength=64),
            "os_hash_value": _text(maxLength=128),
        },
        "required": ["os_hash_algo", "os_hash_value"],
    } | _told("The hashes that the bytes there have")
    properties = {"url": _text(maxLength=255), "metadata": {"type": "object"}, "validation_data": validation}
    return {"type": "object", "properties": properties, "required": ["url", "metadata"]}


def _text(pattern: str | None = None, **bounds: int) -> Document:
    return {"type": "string", **({} if pattern is None else {"pattern": pattern}), **bounds}


def _maybe(kind: str, **bounds: object) -> Document:
    return {"type": ["null", kind], **bounds}


def _truth() -> Document:
    return {"type": "boolean"}


def _one_of(words: Sequence[str], *, or_null: bool = False) -> Document:
    return {"type": ["null", "string"], "enum": [None, *words]} if or_null else {"type": "string", "enum": [*words]}


def _told(description: str) -> Document:
    return {"description": description}


def _read_only(description: str) -> Document:
    return {"readOnly": True, "description": description}


def _links(links: Mapping[str, str]) -> list[Document]:
    return [{"rel": relation, "href": target} for relation, target in links.items()]
