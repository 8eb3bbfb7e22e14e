"""What is asked of the service itself, described: discovery, probes, figures, tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.metadefs.shapes import SCHEMAS
from catalog.model.task import TASK_SORT_KEYS, TaskStatus
from httpapi.openapi.operation import (
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
)
from httpapi.openapi.schemas import SIZE, one_of
from httpapi.wire.locations import STORE_HEADER
from httpapi.wire.sizes import IMAGE_SIZE_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE: Final = (
    Parameter("limit", "how many a page has at most; 1,000 are the most", {"type": "integer", "minimum": 0}),
    Parameter("marker", "the id of the last one on the page before"),
)
"""The parameters of every list."""

DIRECTION: Final = Parameter("sort_dir", "the direction", one_of("asc", "desc"))
_TEXT: Final = {"type": "string"}


def _versions(name: str, summary: str, status: int) -> Operation:
    return Operation(name=name, summary=summary, answers={status: Answer("the version list", json_of("Versions"))})


def _schema(noun: str, of: str = "") -> Mapping[str, Operation]:
    answer = Answer("the schema", json_of("JsonSchema"))
    return {"GET": Operation(name=f"show-{of}{noun}-schema", summary=f"The schema of {noun}", answers={200: answer})}


OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/": {"GET": _versions("choose-version", "The version list, to choose from", 300)},
    "/versions": {"GET": _versions("list-versions", "The version list", 200)},
    "/v2": {"GET": _versions("show-version", "The version list, for clients that discover at their endpoint", 200)},
    "/v2/": {"GET": _versions("show-version-root", "The same", 200)},
    "/openapi.json": {
        "GET": Operation(
            name="show-openapi",
            summary="This document",
            answers={200: Answer("the routes that are served", json_of("OpenApi"))},
        )
    },
    "/healthcheck": {
        "GET": Operation(
            name="healthcheck",
            summary="Whether the process answers",
            answers={200: Answer("OK", (Content("text/plain", _TEXT),))},
        )
    },
    "/ready": {
        "GET": Operation(
            name="ready",
            summary="Whether this process can work now",
            answers={
                200: Answer("requests should be sent here", json_of("Ready")),
                503: Answer("requests should be sent elsewhere", json_of("Ready"), ("Retry-After",)),
            },
        )
    },
    "/metrics": {
        "GET": Operation(
            name="metrics",
            summary="Figures for Prometheus",
            answers={
                200: Answer(
                    "all figures",
                    (Content("text/plain", _TEXT), Content("application/openmetrics-text", _TEXT)),
                )
            },
            errors=("forbidden",),
        )
    },
    **{f"/v2/schemas/{noun}": _schema(noun) for noun in ("image", "images", "member", "members", "task", "tasks")},
    **{f"/v2/schemas/metadefs/{noun}": _schema(noun, "metadef-") for noun in SCHEMAS},
    "/v2/info/import": {
        "GET": Operation(
            name="list-import-methods",
            summary="Ways of import",
            answers={200: Answer("those that are served", json_of("ImportMethods"))},
        )
    },
    "/v2/info/stores": {
        "GET": Operation(
            name="list-stores",
            summary="Where images' bytes may lie; 404 where no stores are configured",
            answers={200: Answer("the heaviest first", json_of("Stores"))},
            errors=("not-found",),
        )
    },
    "/v2/info/stores/detail": {
        "GET": Operation(
            name="list-stores-detail",
            summary="The same, with types, weights and where they are",
            answers={200: Answer("the heaviest first", json_of("DetailedStores"))},
            errors=("not-found", "forbidden"),
        )
    },
    "/v2/info/usage": {
        "GET": Operation(
            name="show-usage",
            summary="What the caller's project uses of its quotas",
            answers={200: Answer("by quota; sizes in MiB, -1 for no limit", json_of("Usage"))},
        )
    },
    "/v2/tasks": {
        "GET": Operation(
            name="list-tasks",
            summary="Tasks, without input, result and message",
            parameters=(
                Parameter("status", "tasks of this status", one_of(*TaskStatus)),
                Parameter("type", "tasks of this type"),
                Parameter("sort_key", "the order", one_of(*TASK_SORT_KEYS)),
                DIRECTION,
                *PAGE,
            ),
            answers={200: Answer("a page", json_of("Tasks"))},
            errors=("invalid", "forbidden"),
        ),
        "POST": Operation(
            name="create-task",
            summary="The older way to import: makes an image and fetches it from a URL",
            body=Body(content=json_of("NewTask")),
            answers={201: Answer("the task", json_of("Task"), ("Location",))},
            errors=(
                *READS_JSON,
                *WRITES,
                "invalid",
                "forbidden",
                "read-only-attribute",
                "reserved-attribute",
                "protected-property",
                "address-refused",
                "conflict",
                "limit-exceeded",
                "quota-exceeded",
            ),
        ),
    },
    "/v2/tasks/{id}": {
        "GET": Operation(
            name="show-task",
            summary="A task, whole",
            answers={200: Answer("the task", json_of("Task"))},
            errors=OF_AN_IMAGE,
        )
    },
    "/v2/tasks/{id}/actions/cancel": {
        "POST": Operation(
            name="cancel-task",
            summary="Ends a task; ours",
            answers={202: Answer("the task as it is then", json_of("Task"))},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict"),
        )
    },
    "/v2/images/{image_id}/stage": {
        "PUT": Operation(
            name="stage-image",
            summary="Bytes that wait for their import: queued → uploading",
            parameters=(Parameter(IMAGE_SIZE_HEADER, "how many bytes come", SIZE, where="header"),),
            body=Body(content=(bytes_of("application/octet-stream"),)),
            answers={204: Answer("they are stored, and durable")},
            errors=(
                *OF_AN_IMAGE,
                *WRITES,
                *STORE,
                "invalid",
                "size-mismatch",
                "source-lost",
                "conflict",
                "gone",
                "limit-exceeded",
                "quota-exceeded",
                "store-full",
                "body-timeout",
                "unsupported-media-type",
            ),
        )
    },
    "/v2/images/{image_id}/import": {
        "POST": Operation(
            name="import-image",
            summary="Begins an import, which a task does",
            parameters=(Parameter(STORE_HEADER, "the store that gets the image", where="header"),),
            body=Body(content=json_of("NewImport")),
            answers={202: Answer("there is a task that imports")},
            errors=(*OF_AN_IMAGE, *WRITES, *READS_JSON, "invalid", "conflict", "address-refused", "limit-exceeded"),
        )
    },
    "/v2/images/{image_id}/tasks": {
        "GET": Operation(
            name="list-image-tasks",
            summary="The tasks on an image that the caller may see, whole, newest first",
            answers={200: Answer("all of them", json_of("TasksOfImage"))},
            errors=OF_AN_IMAGE,
        )
    },
    "/v2/images/{image_id}/actions/convert": {
        "POST": Operation(
            name="convert-image",
            summary="Has a new image made of the image's disk, in another format; ours",
            body=Body(content=json_of("NewConversion")),
            answers={202: Answer("the task that does it; its image_id is the new image", json_of("Task"))},
            errors=(
                *OF_AN_IMAGE,
                *WRITES,
                *READS_JSON,
                "invalid",
                "conflict",
                "limit-exceeded",
                "quota-exceeded",
            ),
            gives={"id": "$response.body#/id"},
        )
    },
    "/v2/images/{image_id}/actions/coalesce": {
        "POST": Operation(
            name="coalesce-image",
            summary="Has the image made independent of what it was built on; ours",
            answers={202: Answer("the task that does it", json_of("Task"))},
            errors=(*OF_AN_IMAGE, *WRITES, "conflict", "no-blocks"),
            gives={"id": "$response.body#/id"},
        )
    },
}
"""By path and verb. A HEAD that is not here is its GET without a body."""
