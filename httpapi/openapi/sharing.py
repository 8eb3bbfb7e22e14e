"""Whom an image is shared with, described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httpapi.openapi.operation import OF_AN_IMAGE, READS_JSON, WRITES, Answer, Body, Operation, json_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHANGES: Final = (*OF_AN_IMAGE, *WRITES, "invalid", "conflict")

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/v2/images/{image_id}/members": {
        "GET": Operation(
            name="list-members",
            summary="The projects that an image is shared with; a member sees itself alone",
            answers={200: Answer("all that the caller may know of", json_of("Members"))},
            errors=OF_AN_IMAGE,
        ),
        "POST": Operation(
            name="add-member",
            summary="Shares an image with a project",
            body=Body(content=json_of("NewMember")),
            answers={200: Answer("the member", json_of("Member"))},
            errors=(*_CHANGES, *READS_JSON, "limit-exceeded"),
            gives={"image_id": "$request.path.image_id", "member_id": "$response.body#/member_id"},
        ),
    },
    "/v2/images/{image_id}/members/{member_id}": {
        "GET": Operation(
            name="show-member",
            summary="A member",
            answers={200: Answer("the member", json_of("Member"))},
            errors=OF_AN_IMAGE,
        ),
        "PUT": Operation(
            name="answer-as-member",
            summary="What a member thinks of being one",
            body=Body(content=json_of("MemberAnswer")),
            answers={200: Answer("the member", json_of("Member"))},
            errors=(*_CHANGES, *READS_JSON),
        ),
        "DELETE": Operation(
            name="remove-member",
            summary="Ends the sharing with a project",
            answers={204: Answer("it is a member no more")},
            errors=_CHANGES,
        ),
    },
}
"""By path and verb."""
