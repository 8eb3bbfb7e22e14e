"""The OpenAPI document of the routes that are served, put together from what is written of each.

Paths and verbs come from the tables of `routes.py`, so a route without a description cannot be left out by mistake:
asking for the document fails. The statuses of errors come from the error table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from httpapi.error_table import DOCUMENTED, ERROR_HEADER
from httpapi.openapi import delta, images, locations, metadefs, service, sharing, tickets
from httpapi.openapi.operation import Operation, ref
from httpapi.openapi.schemas import TEXT, UUID, schemas
from httpapi.request_id import REQUEST_ID_HEADER
from httpapi.wire.deleted import LOST_HEADER
from httpapi.wire.imports import IMPORT_METHODS
from httpapi.wire.stores import STORES_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from httpapi.openapi.operation import Answer, Body, Content, Parameter
    from httpapi.routes import RouteTables
    from httpapi.wire.schemas import Words

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    **service.OPERATIONS,
    **images.OPERATIONS,
    **sharing.OPERATIONS,
    **locations.OPERATIONS,
    **delta.OPERATIONS,
    **metadefs.OPERATIONS,
    **tickets.OPERATIONS,
}
"""What is written of each route."""

EVERYWHERE: Final = (
    "bad-request", "host-refused", "no-such-route", "method-not-allowed", "header-timeout", "expectation-failed",
    "http-error", "unknown-method", "unknown-transfer-coding", "internal-error", "catalog-error", "blockstore-error",
    "wire-error",
)  # fmt: skip
"""Errors that any request may meet."""

IDENTIFIED: Final = (
    "unauthenticated", "project-refused", "no-project", "access-rules-refuse", "too-many-logins", "identity-busy",
    "identity-unavailable", "catalog-unavailable",
)  # fmt: skip
"""Errors of routes that need to know the caller."""

_PATH_PARAMETERS: Final = {
    "store": ("the name of a store", TEXT),
    "image_id": ("the image", UUID),
    "upload_id": ("the delta upload", TEXT),
    "member_id": ("the project that is a member", TEXT),
    "tag": ("the tag", TEXT),
    "id": ("the task", UUID),
    "namespace": ("the namespace of metadata definitions", TEXT),
    "name": ("the name of one thing in it", TEXT),
    "ticket": ("what makes a signed URL good", TEXT),
    "file_name": ("the file name that was signed with it", TEXT),
}
_HEADERS: Final = {
    "Allow": "the verbs that the path takes",
    "Accept-Patch": "of a PATCH: the types that it may have",
    "Accept-Ranges": "bytes, or none",
    "Content-Range": "which bytes these are, or how many there are",
    "ETag": "the image's id: the bytes of an active image never change",
    "Location": "where it is, absolute",
    STORES_HEADER: "stores that can take its bytes, where stores are configured",
    "Retry-After": "seconds after which the same request may work",
    "WWW-Authenticate": "what would be taken",
    IMPORT_METHODS: "the ways of import that are served",
    LOST_HEADER: "the visibility that an image had which is private now",
    "x-drystone-manifest": "the digest of the manifest in the body, in hex",
}
_ABOUT: Final = """The OpenStack Images API v2, and what is ours beside it. Every path below /v2 is served alike below
/v2.0, /v2.1 …: minor numbers advertise, they change nothing. An unknown version is answered with the version list. All
answers have the request's id, errors also their documented name."""


def document(routes: RouteTables, words: Words) -> dict[str, Any]:
    """The document of these routes, without `servers`; `words` are those of the schemas.

    Raises KeyError for a route that nothing is written of.
    """
    found = {
        (at := path_of(path), verb): (_described(at, verb), usual)
        for table, usual in ((routes.open, EVERYWHERE), (routes.identified, (*EVERYWHERE, *IDENTIFIED)))
        for path, verbs in table.items()
        for verb in verbs
    }
    paths: dict[str, dict[str, object]] = {}
    shared: dict[str, object] = {}
    for (path, verb), (operation, usual) in sorted(found.items()):
        links = _links(operation, ((where, each) for (where, _), (each, _) in found.items()))
        described = paths.setdefault(path, _at(path))
        described[verb.lower()] = _operation(operation, usual, links, shared, head=verb == "HEAD")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Drystone", "version": "2", "description": " ".join(_ABOUT.split())},
        "paths": paths,
        "components": {"schemas": schemas(words), "responses": shared},
    }


def path_of(template: str) -> str:
    """The path as OpenAPI writes it: names without their patterns, and the version as its plain number."""
    return re.sub(
        r"\{(\w+)(?::[^{}]*)?\}", lambda found: "v2" if found[1] == "version" else f"{{{found[1]}}}", template
    )


def _described(path: str, verb: str) -> Operation:
    verbs = OPERATIONS[path]
    return verbs["GET"] if verb == "HEAD" and verb not in verbs else verbs[verb]


def _names_in(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def _at(path: str) -> dict[str, object]:
    names = [(name, *_PATH_PARAMETERS[name]) for name in _names_in(path)]
    parameters = [
        {"name": name, "in": "path", "required": True, "description": what, "schema": schema}
        for name, what, schema in names
    ]
    return {"parameters": parameters} if parameters else {}


def _operation(
    operation: Operation,
    usual: tuple[str, ...],
    links: Mapping[str, object],
    shared: dict[str, object],
    *,
    head: bool,
) -> dict[str, object]:
    described: dict[str, object] = {
        "operationId": f"{operation.name}-head" if head else operation.name,
        "summary": f"The headers of: {operation.summary}" if head else operation.summary,
        "responses": _responses(operation, usual, links, shared, head=head),
    }
    if operation.parameters:
        described["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = _body(operation.body)
    return described


def _responses(
    operation: Operation,
    usual: tuple[str, ...],
    links: Mapping[str, object],
    shared: dict[str, object],
    *,
    head: bool,
) -> dict[str, object]:
    """The answers by status; one that is an error and nothing else goes into `shared`, by the names it may have."""
    codes: dict[int, set[str]] = {}
    for code in (*usual, *operation.errors):
        codes.setdefault(DOCUMENTED[code], set()).add(code)
    responses: dict[str, object] = {}
    for status in sorted({*codes, *operation.answers}):
        answer, named = operation.answers.get(status), codes.get(status, set())
        described: dict[str, object] = {
            "description": "; ".join([*([answer.description] if answer else []), *sorted(named)]),
            "headers": _headers(answer, named, status),
        }
        if not head and (contents := [*_contents(answer, named, status)]):
            described["content"] = _by_kind(contents)
        if answer is not None and links:
            described["links"] = links
        if answer is None:
            name = ".".join([*(["HEAD"] if head else []), str(status), *sorted(named)])
            shared[name] = described
            described = {"$ref": f"#/components/responses/{name}"}
        responses[str(status)] = described
    return responses


def _contents(answer: Answer | None, named: set[str], status: int) -> Iterator[tuple[str, object]]:
    yield from ((each.kind, each.schema) for each in (answer.content if answer else ()))
    if named and status >= 400:
        yield "application/json", ref("Error")
        yield "text/html", TEXT


def _by_kind(contents: Iterable[tuple[str, object]]) -> dict[str, object]:
    kinds: dict[str, list[object]] = {}
    for kind, schema in contents:
        kinds.setdefault(kind, []).append(schema)
    return {kind: {"schema": each[0] if len(each) == 1 else {"anyOf": each}} for kind, each in kinds.items()}


def _headers(answer: Answer | None, named: set[str], status: int) -> dict[str, object]:
    headers: dict[str, object] = {REQUEST_ID_HEADER: {"required": True, "schema": TEXT}}
    if named:
        # Only an answer that is always an error always says which.
        headers[ERROR_HEADER] = {"required": answer is None, "schema": {"type": "string", "enum": sorted(named)}}
    told = {*(answer.headers if answer else ()), *_USUAL_HEADERS.get(status, ())}
    headers |= {name: {"description": _HEADERS[name], "schema": TEXT} for name in sorted(told)}
    return headers


_USUAL_HEADERS: Final = {
    401: ("WWW-Authenticate",), 405: ("Allow",), 415: ("Accept-Patch",), 416: ("Content-Range",),
    429: ("Retry-After",), 503: ("Retry-After",),
}  # fmt: skip


def _links(operation: Operation, others: Iterable[tuple[str, Operation]]) -> dict[str, object]:
    """From an answer to whatever takes all that its path needs from it."""
    gives = operation.gives
    return {
        other.name: {"operationId": other.name, "parameters": {name: gives[name] for name in wanted}}
        for path, other in others
        if gives and (wanted := _names_in(path)) and gives.keys() >= set(wanted)
    }


def _parameter(parameter: Parameter) -> dict[str, object]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _body(body: Body) -> dict[str, object]:
    return {"required": body.required, "content": {each.kind: _media(each) for each in body.content}}


def _media(content: Content) -> dict[str, object]:
    return {"schema": content.schema}
