"""The one table that turns errors into HTTP: class → status, for all three trees.

A class that is not listed answers as the nearest class above it that is. The documented name goes into the
header `x-drystone-error`; the body keeps to the reference's three keys.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from blockstore import errors as blocks
from catalog.model import errors as catalog
from httpapi.discretion import is_ours, sentence_for
from httpapi.wire import errors as wire
from httpapi.wire.number_ranges import BLOCKS_HEADER, blocks_header
from httpapi.wire.ranges import unsatisfied
from httpapi.wire.reading import prefers_page

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

ERROR_HEADER = "x-drystone-error"
# Not aiohttp's own, which tells everybody which versions run here.
SERVER_NAME = "drystone"

STATUS_OF: dict[type[Exception], HTTPStatus] = {
    catalog.CatalogError: HTTPStatus.INTERNAL_SERVER_ERROR,
    catalog.Invalid: HTTPStatus.BAD_REQUEST,
    catalog.Forbidden: HTTPStatus.FORBIDDEN,
    catalog.NotFound: HTTPStatus.NOT_FOUND,
    catalog.Conflict: HTTPStatus.CONFLICT,
    catalog.Gone: HTTPStatus.GONE,
    catalog.LimitExceeded: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    catalog.FormatRefused: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    catalog.ConversionFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    catalog.CatalogFull: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    catalog.StoreFull: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    catalog.StoreDown: HTTPStatus.SERVICE_UNAVAILABLE,
    catalog.CopyLost: HTTPStatus.SERVICE_UNAVAILABLE,
    catalog.CatalogUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    catalog.SourceLost: HTTPStatus.BAD_REQUEST,
    catalog.NoData: HTTPStatus.NO_CONTENT,
    blocks.BlockstoreError: HTTPStatus.INTERNAL_SERVER_ERROR,
    blocks.StoreFull: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    blocks.StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    blocks.Damaged: HTTPStatus.SERVICE_UNAVAILABLE,
    blocks.JournalDamaged: HTTPStatus.CONFLICT,
    blocks.Missing: HTTPStatus.SERVICE_UNAVAILABLE,
    blocks.BlockRefused: HTTPStatus.BAD_REQUEST,
    blocks.BlockConflict: HTTPStatus.CONFLICT,
    blocks.BlockNotHeld: HTTPStatus.CONFLICT,
    blocks.BlocksMissing: HTTPStatus.CONFLICT,
    wire.WireError: HTTPStatus.INTERNAL_SERVER_ERROR,
    wire.BadRequest: HTTPStatus.BAD_REQUEST,
    wire.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    wire.HostRefused: HTTPStatus.FORBIDDEN,
    wire.ProjectRefused: HTTPStatus.FORBIDDEN,
    wire.NoProject: HTTPStatus.FORBIDDEN,
    wire.AccessRulesRefuse: HTTPStatus.FORBIDDEN,
    wire.HeaderTimeout: HTTPStatus.REQUEST_TIMEOUT,
    wire.BodyTimeout: HTTPStatus.REQUEST_TIMEOUT,
    wire.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    wire.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    wire.UnsupportedBody: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    wire.RangeUnsatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    wire.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    wire.TooManyLogins: HTTPStatus.TOO_MANY_REQUESTS,
    wire.IdentityBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    wire.IdentityUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    wire.UnknownMethod: HTTPStatus.NOT_IMPLEMENTED,
    wire.UnknownCoding: HTTPStatus.NOT_IMPLEMENTED,
}

# Answers that no class of error stands behind: what no route takes, defects, and what aiohttp refuses by itself.
METHOD_NOT_ALLOWED = "method-not-allowed"
NO_SUCH_ROUTE = "no-such-route"
INTERNAL_ERROR = "internal-error"
HTTP_ERROR = "http-error"

KNOWN_ERRORS = (catalog.CatalogError, blocks.BlockstoreError, wire.WireError)


def status_of(error: Exception) -> HTTPStatus:
    """The status that an error of one of the three trees answers with."""
    return next(
        (STATUS_OF[each] for each in type(error).__mro__ if each in STATUS_OF), HTTPStatus.INTERNAL_SERVER_ERROR
    )


def _documented() -> dict[str, HTTPStatus]:
    statuses = {
        METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
        NO_SUCH_ROUTE: HTTPStatus.NOT_FOUND,
        INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTP_ERROR: HTTPStatus.BAD_REQUEST,
    }
    waiting: list[type[catalog.CatalogError | blocks.BlockstoreError | wire.WireError]] = [*KNOWN_ERRORS]
    while waiting:
        each = waiting.pop()
        statuses[each.code] = next(STATUS_OF[above] for above in each.__mro__ if above in STATUS_OF)
        waiting += each.__subclasses__()
    return statuses


DOCUMENTED = _documented()
"""The status of each documented name; of `http-error`, which has any of 4xx, the usual one."""


class ErrorResponse(web.Response):
    """An error answer: JSON in the reference's shape, until `suited` is asked for somebody who prefers a page."""

    def __init__(self, status: int, message: str, code: str) -> None:
        body = json.dumps(wire.error_document(status, message)).encode()
        headers = {ERROR_HEADER: code, "Vary": "Accept, User-Agent"}
        super().__init__(status=status, body=body, content_type="application/json", headers=headers)
        self._message = message

    def suited(self, asked: CIMultiDictProxy[str]) -> ErrorResponse:
        """The same in HTML, in which nothing may run and nothing is loaded, if a request's headers prefer that."""
        if not prefers_page(",".join(asked.getall("Accept", [])), asked.get("User-Agent")):
            return self
        self.body = wire.error_page(self.status, self._message).encode(errors="backslashreplace")
        self.content_type = "text/html"
        self.charset = "utf-8"
        self.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
        self.headers["X-Content-Type-Options"] = "nosniff"
        return self


def error_response(status: int, message: str, code: str) -> ErrorResponse:
    """An error answer in the reference's shape."""
    return ErrorResponse(status, message, code)


def response_for(
    error: catalog.CatalogError | blocks.BlockstoreError | wire.WireError, *, to_operator: bool = False
) -> web.Response:
    """The answer to one error; an image without data answers 204, which has no body.

    A failure of ours is told whole to an operator alone.
    """
    status = status_of(error)
    if status is HTTPStatus.NO_CONTENT:
        return web.Response(status=status, headers={ERROR_HEADER: error.code})
    withheld = is_ours(error, status) and not to_operator
    response = error_response(status, sentence_for(error) if withheld else str(error), error.code)
    if isinstance(error, wire.RangeUnsatisfiable):
        response.headers["Content-Range"] = unsatisfied(error.size)
    if isinstance(error, blocks.BlockRefused) and error.numbers:
        response.headers[BLOCKS_HEADER] = blocks_header(error.numbers)
    if isinstance(error, wire.UnsupportedBody) and error.accept_patch:
        response.headers["Accept-Patch"] = error.accept_patch
    if isinstance(error, wire.Unauthenticated):
        response.headers["WWW-Authenticate"] = error.challenge
    if isinstance(error, wire.TooManyLogins):
        response.headers["Retry-After"] = str(error.retry_after)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "5"
    return response
