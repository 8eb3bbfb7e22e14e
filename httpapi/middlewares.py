"""What happens around every request: its id, its line in the log, its errors, and who may come in at all."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.model.errors import QuotaExceeded
from httpapi import admission
from httpapi.access_log import ACCESS_LINE, AccessLine, logged_path
from httpapi.caller import CALLER, arrival_of
from httpapi.cause import CAUSE, Cause
from httpapi.discretion import is_ours
from httpapi.error_table import HTTP_ERROR, KNOWN_ERRORS, SERVER_NAME, ErrorResponse, error_response, response_for
from httpapi.metrics.quotas import refused
from httpapi.metrics.requests import REQUEST_METER
from httpapi.proxies import client_of
from httpapi.request_id import REQUEST_ID, REQUEST_ID_HEADER, global_id_of, new_request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from httpapi.identity.contract import Identity

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_errors = logging.getLogger("drystone.errors")


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

    def is_idle(self) -> bool:
        """Whether none is at work."""
        return self._count == 0

    async def drained(self) -> None:
        """Wait until none is at work."""
        await self._idle.wait()


IN_FLIGHT = web.AppKey("in_flight", InFlight)
IDENTITY: web.AppKey[Any] = web.AppKey("identity", object)


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id and its line in the log, and count it while it is at work."""
    request_id = request[REQUEST_ID] = new_request_id()
    CAUSE.set(Cause(request_id, global_id_of(request.headers.get(REQUEST_ID_HEADER))))
    line = AccessLine(request.method, logged_path(request.raw_path), request_id, client_of(request))
    request[ACCESS_LINE] = line
    REQUEST_METER.begun(request, line)
    in_flight = request.app[IN_FLIGHT]
    in_flight.enter()
    try:
        return await _by_name(request, handler, line)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) or request.writer.output_size > 0:
            # No answer follows that the connection could write the line of.
            line.cut = request.writer.output_size > 0
            line.write(None)
        raise
    finally:
        in_flight.leave()


async def _by_name(request: web.Request, handler: Handler, line: AccessLine) -> web.StreamResponse:
    try:
        return await handler(request)
    finally:
        if (caller := request.get(CALLER)) is not None:
            line.user, line.project = caller.user, caller.project


@web.middleware
async def show_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give errors as a page to whoever prefers one."""
    response = await handler(request)
    return response.suited(request.headers) if isinstance(response, ErrorResponse) else response


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors of the three trees into answers by the one table, and aiohttp's own into the same shape."""
    try:
        return await handler(request)
    except KNOWN_ERRORS as error:
        caller = request.get(CALLER)
        response = response_for(error, to_operator=caller is not None and caller.is_admin)
        if isinstance(error, QuotaExceeded):
            refused(error)
        # What a request itself gets wrong is no news for whoever runs the service, whatever its status.
        if is_ours(error, response.status):
            trace = error if _errors.isEnabledFor(logging.DEBUG) else None
            _errors.error("%s: %s", error.code, error, exc_info=trace)
        return response
    except web.HTTPException as error:
        return error_response(error.status, error.text or error.reason, HTTP_ERROR)


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what must not come in by any route, discovery included."""
    identity: Identity = request.app[IDENTITY]
    identity.admit(arrival_of(request))
    admission.check(request)
    return await handler(request)


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id on the answer; close after it when stopping, or when the body is unread or broken."""
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    response.headers["Server"] = SERVER_NAME
    body = request.content
    if request.app[IN_FLIGHT].stopping or not body.is_eof() or body.exception() is not None:
        response.force_close()
        # aiohttp has already decided on this header when it asks us.
        response.headers["Connection"] = "close"
