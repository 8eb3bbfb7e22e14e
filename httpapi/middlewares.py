"""What happens around every request: its id, its line in the log, its errors, and who may come in at all."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from blockstore.clock import monotonic
from blockstore.errors import StoreFull
from catalog.model.errors import CatalogFull
from httpapi.error_table import KNOWN_ERRORS, error_response, response_for
from httpapi.request_id import REQUEST_ID, REQUEST_ID_HEADER, request_id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from httpapi.identity.contract import Identity

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_access = logging.getLogger("drystone.access")
_errors = logging.getLogger("drystone.errors")
# Answered 413, and yet for whoever runs the service to put right.
_OPERATORS = (StoreFull, CatalogFull)


class InFlight:
    """How many requests are at work, so that a stopping server can wait for them."""

    def __init__(self) -> None:
        self.stopping = False
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """One more request."""
        self._count += 1
        self._idle.clear()

    def leave(self) -> None:
        """One less."""
        self._count -= 1
        if self._count == 0:
            self._idle.set()

    async def drained(self) -> None:
        """Wait until none is at work."""
        await self._idle.wait()


IN_FLIGHT = web.AppKey("in_flight", InFlight)
IDENTITY: web.AppKey[Any] = web.AppKey("identity", object)


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, count it while it is at work, and log one line when it ends."""
    request[REQUEST_ID] = request_id_of(request.headers.get(REQUEST_ID_HEADER))
    in_flight = request.app[IN_FLIGHT]
    began = monotonic()
    status, sent = "-", 0
    in_flight.enter()
    try:
        response = await handler(request)
        status, sent = str(response.status), response.content_length or 0
        return response
    finally:
        in_flight.leave()
        _access.info(
            "%s %s %s %d bytes %.3f s %s",
            request.method,
            request.raw_path,
            status,
            sent,
            monotonic() - began,
            request[REQUEST_ID],
        )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors of the three trees into answers by the one table, and aiohttp's own into the same shape."""
    try:
        return await handler(request)
    except KNOWN_ERRORS as error:
        response = response_for(error)
        if response.status >= 500 or isinstance(error, _OPERATORS):
            trace = error if _errors.isEnabledFor(logging.DEBUG) else None
            _errors.error("%s: %s: %s", request[REQUEST_ID], error.code, error, exc_info=trace)
        return response
    except web.HTTPException as error:
        return error_response(error.status, error.text or error.reason, "http-error")


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what must not come in by any route, discovery included."""
    identity: Identity = request.app[IDENTITY]
    identity.admit(request.headers)
    return await handler(request)


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id on the answer; close after it when stopping, or when the body is unread or broken."""
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    # Not aiohttp's own, which tells everybody which versions run here.
    response.headers["Server"] = "drystone"
    body = request.content
    if request.app[IN_FLIGHT].stopping or not body.is_eof() or body.exception() is not None:
        response.force_close()
        # aiohttp has already decided on this header when it asks us.
        response.headers["Connection"] = "close"
