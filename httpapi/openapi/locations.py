"""Where images lie, described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httpapi.openapi.operation import OF_AN_IMAGE, READS_JSON, WRITES, Answer, Body, Operation, json_of

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/v2/images/{image_id}/locations": {
        "GET": Operation(
            name="list-locations",
            summary="Where an image lies, for services that use it in place",
            answers={200: Answer("in the order in which it is read", json_of("Locations"))},
            errors=OF_AN_IMAGE,
        ),
        "POST": Operation(
            name="add-location",
            summary="Has an image made of what lies at a URL",
            body=Body(content=json_of("NewLocation")),
            answers={202: Answer("there is a task that does it")},
            errors=(
                *OF_AN_IMAGE,
                *WRITES,
                *READS_JSON,
                "invalid",
                "address-refused",
                "conflict",
                "limit-exceeded",
                "quota-exceeded",
            ),
        ),
    },
    "/v2/stores/{store}/{image_id}": {
        "DELETE": Operation(
            name="delete-from-store",
            summary="Takes away what an image has in a store, unless that is all of it",
            answers={204: Answer("it lies there no more")},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict"),
        ),
    },
}
"""By path and verb."""
