"""Reading a server's answers: JSON bodies, and errors in whichever shape a server gives them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import (
    ApiError,
    Conflict,
    KeystoneNeeded,
    LoginNeeded,
    NotAnImageService,
    NotFound,
    TooManyTries,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

_CLASSES: Final[dict[int, type[ApiError]]] = {
    401: LoginNeeded,
    404: NotFound,
    409: Conflict,
    429: TooManyTries,
}
# A page of images with all their properties stays below.
LARGEST_JSON: Final = 64 * 1024 * 1024
LARGEST_ERROR: Final = 64 * 1024


async def read_json(response: aiohttp.ClientResponse) -> object:
    """The JSON document of an answer; NotAnImageService if it is none."""
    body = await _read(response, LARGEST_JSON)
    if body is None:
        raise NotAnImageService(
            f"{response.url.origin()} answers with more than {LARGEST_JSON >> 20} MiB of text: name the image by its "
            "full id, narrow `drystone ls` with a name or --tag, or check --endpoint",
        )
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnImageService(
            f"{response.url.origin()} answers (HTTP {response.status}), but not with JSON: check --endpoint",
        ) from None
    return document


async def raise_for_error(response: aiohttp.ClientResponse) -> None:
    """Raises the ApiError that fits, unless the answer is one of success."""
    if not 200 <= response.status < 300:
        body = await _read(response, LARGEST_ERROR) or b""
        raise refusal(response.status, response.headers, body)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that such an answer means; the headers are found by names in lower case."""
    request_id = headers.get("x-openstack-request-id")
    if 300 <= status < 400:
        to = headers.get("location", "elsewhere")
        return ApiError(status, f"the server sends us to {to}: name that as --endpoint if you trust it", request_id)
    message = _message(body) or f"the server answers {_phrase(status)}"
    kind = KeystoneNeeded if _wants_a_token(status, headers) else _CLASSES.get(status, ApiError)
    code = headers.get("x-drystone-error")
    return kind(status, message + _way_out(status, headers, message), request_id, code)


def following(link: object, previous: str) -> str:
    """The query of a `next` link, empty at the end; only the query is taken, so it cannot lead elsewhere."""
    if not isinstance(link, str):
        return ""
    query = link.partition("#")[0].partition("?")[2]
    if query == previous:
        raise NotAnImageService("the list of images refers to the same page again: the server errs")
    return query


def _way_out(status: int, headers: Mapping[str, str], message: str) -> str:
    """What the user can do about it, where the server's sentence may not say so."""
    if _wants_a_token(status, headers):
        return ": log in by Keystone, with OS_CLOUD or the OS_ variables of its clients"
    if status == 401:
        return ": log in with `drystone login`"
    wait = headers.get("retry-after", "")
    if status == 429 and wait.isascii() and wait.isdigit() and f"{wait} s" not in message:
        return f": wait {wait} s before the next try"
    return ""


def _wants_a_token(status: int, headers: Mapping[str, str]) -> bool:
    challenge = headers.get("www-authenticate", "Basic")
    return status == 401 and not challenge.strip().lower().startswith("basic")


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The whole body, None if it has more than `limit` bytes."""
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > limit:
            return None
    return bytes(pieces)


def _message(body: bytes) -> str | None:
    """The sentence of a JSON error body; other servers' HTML is not shown."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    message = document.get("message") if isinstance(document, dict) else None
    return " ".join(message.split()).rstrip(".") if isinstance(message, str) and message.strip() else None


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
