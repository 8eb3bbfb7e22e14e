"""Signed URLs, described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httpapi.openapi.images import OPERATIONS as IMAGES
from httpapi.openapi.operation import OF_AN_IMAGE, READS_JSON, Answer, Body, Operation, json_of
from httpapi.wire.tickets import SIGNED

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE: Final = IMAGES["/v2/images/{image_id}/file"]["GET"]

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/v2/images/{image_id}/actions/sign": {
        "POST": Operation(
            name="sign-image-url",
            summary="A URL with which whoever has it can download the image for a while, and a cookie likewise; ours",
            body=Body(content=json_of("WantedTicket"), required=False),
            answers={200: Answer("both, and when they expire", json_of("SignedUrl"))},
            errors=(*OF_AN_IMAGE, *READS_JSON, "invalid", "conflict", "url-keys-unavailable"),
        )
    },
    f"{SIGNED}/{{ticket}}/{{file_name}}": {
        "GET": Operation(
            name="download-signed",
            summary="The bytes of the image that the URL was signed for, to whoever has it; ours",
            parameters=tuple(each for each in _FILE.parameters if each.where == "header"),
            answers=_FILE.answers,
            errors=(
                *(code for code in _FILE.errors if code not in {*OF_AN_IMAGE, "no-data", "invalid"}),
                "ticket-refused",
                "url-keys-unavailable",
                "catalog-unavailable",
            ),
        )
    },
}
"""By path and verb."""
