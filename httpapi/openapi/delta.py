"""Delta sync, described; `httpapi/DELTA.md` is its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httpapi.openapi.operation import (
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
from httpapi.openapi.schemas import SIZE, UUID
from httpapi.wire.block_stream import MEDIA_TYPE
from httpapi.wire.deltas import MANIFEST_HEADER, MANIFEST_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

_FROM: Final = Parameter("from", "where the page begins; `next` says it", SIZE)
_READS: Final = (*OF_AN_IMAGE, *STORE, "no-data", "no-blocks")
_UNDER_WAY: Final = (*OF_AN_IMAGE, *WRITES, "conflict", "gone", "delta-damaged", "store-full")

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/v2/images/{image_id}/manifest": {
        "GET": Operation(
            name="show-manifest",
            summary="Which blocks the image has: a flat manifest, or a summary of it",
            parameters=(Parameter("If-None-Match", "RFC 9110", where="header"),),
            answers={
                200: Answer(
                    "the manifest; its digest is in the header, of a summary in itself",
                    (bytes_of(MANIFEST_TYPE), Content("application/json", ref("ManifestSummary"))),
                    ("ETag", MANIFEST_HEADER),
                ),
                204: NO_BYTES,
                304: Answer("the caller has it", (), ("ETag",)),
            },
            errors=_READS,
        )
    },
    "/v2/images/{image_id}/changes": {
        "GET": Operation(
            name="list-changes",
            summary="Where the image differs from another one",
            parameters=(
                Parameter("since", "the other image's id", UUID, required=True),
                _FROM,
                Parameter("limit", "extents of a page", SIZE),
            ),
            answers={200: Answer("a page of extents", json_of("Changes")), 204: NO_BYTES},
            errors=(*_READS, "invalid"),
        )
    },
    "/v2/images/{image_id}/blocks": {
        "POST": Operation(
            name="fetch-blocks",
            summary="Blocks by number, as they are stored",
            body=Body(content=json_of("WantedBlocks")),
            answers={200: Answer("a stream of blocks", (bytes_of(MEDIA_TYPE),)), 204: NO_BYTES},
            errors=(*_READS, *READS_JSON, "invalid"),
        )
    },
    "/v2/images/{image_id}/deltas": {
        "GET": Operation(
            name="list-deltas",
            summary="The delta upload under way, if there is one",
            answers={200: Answer("none, or one", json_of("Deltas"))},
            errors=OF_AN_IMAGE,
        ),
        "POST": Operation(
            name="begin-delta",
            summary="Begins a delta upload: queued → saving",
            body=Body(content=json_of("NewDelta")),
            answers={201: Answer("the upload", json_of("Delta"), ("Location",))},
            errors=(*_UNDER_WAY, *READS_JSON, *STORE, "invalid", "limit-exceeded", "quota-exceeded"),
            gives={"image_id": "$request.path.image_id", "upload_id": "$response.body#/id"},
        ),
    },
    "/v2/images/{image_id}/deltas/{upload_id}": {
        "GET": Operation(
            name="show-delta",
            summary="What has arrived",
            parameters=(_FROM,),
            answers={200: Answer("a page of what has arrived", json_of("Delta"))},
            errors=(*_UNDER_WAY, *STORE, "invalid"),
        ),
        "DELETE": Operation(
            name="give-up-delta",
            summary="Gives the upload up: saving → queued",
            answers={204: Answer("the image is queued again")},
            errors=(*_UNDER_WAY, *STORE),
        ),
    },
    "/v2/images/{image_id}/deltas/{upload_id}/blocks": {
        "PUT": Operation(
            name="send-blocks",
            summary="Sends blocks by number",
            body=Body(content=(bytes_of(MEDIA_TYPE),)),
            answers={204: Answer("all of them are durable")},
            errors=(
                *_UNDER_WAY, *READS_JSON, *STORE, "invalid", "bad-block-stream", "block-refused", "block-conflict",
                "block-not-held", "limit-exceeded",
            ),
        )
    },
    "/v2/images/{image_id}/deltas/{upload_id}/commit": {
        "POST": Operation(
            name="commit-delta",
            summary="Makes the image of what has arrived, idempotently: saving → active",
            body=Body(content=json_of("DeltaCommit"), required=False),
            answers={200: Answer("the image", json_of("Image"))},
            errors=(
                *_UNDER_WAY, *READS_JSON, *STORE, "invalid", "delta-incomplete", "limit-exceeded", "format-refused",
            ),
        )
    },
}  # fmt: skip
"""By path and verb."""
