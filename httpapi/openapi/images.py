"""Images and their bytes, described: what the Images API has, and what is ours beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.image import Visibility
from catalog.model.query import SORT_KEYS
from httpapi.openapi.operation import (
    COPIES,
    NO_BYTES,
    OF_AN_IMAGE,
    READS_JSON,
    STORE,
    WRITES,
    Answer,
    Body,
    Content,
    Operation,
    Parameter,
    bytes_of,
    json_of,
    ref,
)  # fmt: skip
from httpapi.openapi.schemas import SIZE, TRUTH, one_of
from httpapi.openapi.service import DIRECTION, PAGE
from httpapi.wire.deleted import LOST_HEADER
from httpapi.wire.imports import IMPORT_METHODS
from httpapi.wire.locations import PREFER, STORE_HEADER
from httpapi.wire.patches import Dialect
from httpapi.wire.reading import STORED
from httpapi.wire.sizes import IMAGE_SIZE_HEADER
from httpapi.wire.stores import STORES_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

_OCTETS: Final = "application/octet-stream"
_ONE_OR_LIST: Final = "this, or one of in:A,B"
_INTEGER: Final = {"type": "integer", "minimum": -(2**63) + 1, "maximum": 2**63 - 1}
CHANGES_AN_IMAGE: Final = (
    *READS_JSON, *WRITES, "invalid", "read-only-attribute", "reserved-attribute", "protected-property", "conflict",
    "limit-exceeded",
)  # fmt: skip
"""Errors of what a caller says of an image."""

_FILTERS: Final = (
    *(Parameter(name, _ONE_OR_LIST) for name in ("id", "name", "status", "disk_format", "container_format")),
    Parameter("parent_image_ref", f"children of {_ONE_OR_LIST}"),
    Parameter("visibility", "of this visibility", one_of(*Visibility, "all")),
    Parameter(
        "member_status", "shared ones, by what the caller said", one_of("pending", "accepted", "rejected", "all")
    ),
    Parameter("os_hidden", "hidden ones", TRUTH),
    Parameter("protected", "protected ones", TRUTH),
    Parameter("tag", "having this tag; may be repeated: all of them"),
    *(Parameter(name, "this") for name in ("owner", "checksum", "os_hash_algo", "os_hash_value")),
    *(Parameter(name, "a time, perhaps after gt: gte: eq: neq: lt: lte:") for name in ("created_at", "updated_at")),
    *(
        Parameter(f"{name}{bound}", "bytes, GB or MB as in the record", _INTEGER)
        for name in ("size", "virtual_size", "min_disk", "min_ram")
        for bound in ("", "_min", "_max")
    ),
    Parameter("sort", "KEY:asc,KEY:desc …; not with sort_key"),
    Parameter("sort_key", "the order; may be repeated", one_of(*SORT_KEYS)),
    DIRECTION,
    *PAGE,
)

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/v2/images": {
        "GET": Operation(
            name="list-images",
            summary="Images, a page at a time; any other parameter is an extra property with this value",
            parameters=_FILTERS,
            answers={200: Answer("a page, which may end early", json_of("Images"))},
            errors=("invalid", "forbidden"),
        ),
        "POST": Operation(
            name="create-image",
            summary="A new image, without bytes",
            body=Body(content=json_of("NewImage")),
            answers={201: Answer("the image", json_of("Image"), ("Location", IMPORT_METHODS, STORES_HEADER))},
            errors=("forbidden", *CHANGES_AN_IMAGE, "quota-exceeded"),
            gives={"image_id": "$response.body#/id"},
        ),
    },
    "/v2/images/{image_id}": {
        "GET": Operation(
            name="show-image",
            summary="An image",
            answers={200: Answer("the image", json_of("Image"))},
            errors=OF_AN_IMAGE,
        ),
        "PATCH": Operation(
            name="change-image",
            summary="Changes attributes, properties and tags: all that is asked for, or nothing",
            body=Body(
                content=(
                    Content(Dialect.RFC_6902.value, ref("Patch")),
                    Content(Dialect.DRAFT_4.value, ref("DraftPatch")),
                )
            ),
            answers={200: Answer("the image as it is then", json_of("Image"))},
            errors=(*OF_AN_IMAGE, *CHANGES_AN_IMAGE),
        ),
        "DELETE": Operation(
            name="delete-image",
            summary="Takes an image away; for a while it can be brought back",
            answers={204: Answer("it is gone")},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict"),
        ),
    },
    "/v2/images/{image_id}/file": {
        "GET": Operation(
            name="download-image",
            summary="The image's bytes, or a part of them, or all as they are stored",
            parameters=(
                *(Parameter(name, "RFC 9110", where="header") for name in ("If-Match", "If-None-Match", "If-Range")),
                Parameter("Range", "one range", where="header"),
                Parameter(PREFER, "stores to read from, in this order, then from the others"),
            ),
            answers={
                200: Answer("all bytes", (bytes_of(_OCTETS), bytes_of(STORED)), ("ETag", "Accept-Ranges")),
                204: NO_BYTES,
                206: Answer("the range", (bytes_of(_OCTETS),), ("ETag", "Content-Range")),
                304: Answer("the caller has them", (), ("ETag",)),
            },
            errors=(
                *OF_AN_IMAGE, *STORE, *COPIES, "no-data", "invalid", "several-ranges", "precondition-failed",
                "range-not-satisfiable", "not-readable",
            ),
        ),
        "PUT": Operation(
            name="upload-image",
            summary="The image's bytes: queued → active",
            parameters=(
                Parameter(IMAGE_SIZE_HEADER, "how many bytes come", SIZE, where="header"),
                Parameter(STORE_HEADER, "the store that they are to lie in", where="header"),
            ),
            body=Body(content=(bytes_of(_OCTETS),)),
            answers={204: Answer("they are stored, and durable")},
            errors=(
                *OF_AN_IMAGE, *WRITES, *STORE, "invalid", "size-mismatch", "source-lost", "conflict", "gone",
                "limit-exceeded", "quota-exceeded", "store-full", "body-timeout", "unsupported-media-type",
                "format-refused", "store-read-only", "copy-store-full", "store-down",
            ),
        ),
    },
    "/v2/images/{image_id}/tags/{tag}": {
        "PUT": Operation(
            name="add-tag",
            summary="Puts a tag on an image, if it has it not already",
            answers={204: Answer("the image has the tag")},
            errors=(*OF_AN_IMAGE, *WRITES, "invalid", "conflict", "limit-exceeded"),
        ),
        "DELETE": Operation(
            name="remove-tag",
            summary="Takes a tag off an image",
            answers={204: Answer("the image has the tag no more")},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict"),
        ),
    },
    "/v2/images/{image_id}/actions/deactivate": {
        "POST": Operation(
            name="deactivate-image",
            summary="Keeps an image's bytes from everybody but admins",
            answers={204: Answer("it is deactivated")},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict"),
        )
    },
    "/v2/images/{image_id}/actions/reactivate": {
        "POST": Operation(
            name="reactivate-image",
            summary="Gives an image's bytes to whoever had them before",
            answers={204: Answer("it is active")},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict"),
        )
    },
    "/v2/images/{image_id}/actions/undelete": {
        "POST": Operation(
            name="undelete-image",
            summary="Brings a deleted image back; ours",
            answers={200: Answer("the image, as it was, or private", json_of("Image"), headers=(LOST_HEADER,))},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict", "too-late", "quota-exceeded"),
        )
    },
    "/v2/deleted": {
        "GET": Operation(
            name="list-deleted",
            summary="Deleted images that can be brought back; ours",
            parameters=(Parameter("name", "of this name"), *PAGE),
            answers={200: Answer("a page, the last deleted first", json_of("DeletedImages"))},
            errors=("invalid", "forbidden"),
        )
    },
    "/v2/lineage": {
        "GET": Operation(
            name="list-lineage",
            summary="Which image came from which, with the parameters of the list of images; ours",
            parameters=_FILTERS,
            answers={200: Answer("a page, which may end early", json_of("Lineage"))},
            errors=("invalid", "forbidden"),
        )
    },
}  # fmt: skip
"""By path and verb. A HEAD that is not here is its GET without a body."""
