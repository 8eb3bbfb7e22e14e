"""Who is calling, put on the request for the handlers that need it."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Final

from aiohttp import web

from catalog.model.caller import Caller
from httpapi.identity.contract import Arrival
from httpapi.identity.keystone import TOKEN_HEADER
from httpapi.proxies import base_url, client_of
from httpapi.wire.tickets import COOKIE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from multidict import CIMultiDict, CIMultiDictProxy

    from catalog.rules import Rules
    from httpapi.identity.contract import Identity

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOGINS: Final = ("Authorization", TOKEN_HEADER)
CALLER = web.RequestKey("caller", Caller)


def arrival_of(request: web.Request) -> Arrival:
    """What an identity may know of a request."""
    return Arrival(request.method, request.rel_url.raw_path, request.headers, client_of(request), base_url(request))


def with_caller(identity: Identity, rules: Rules | None, handler: Handler, ticketed: Handler | None = None) -> Handler:
    """The handler, run only for a caller whom the identity knows, and who then has the policy's rules.

    Where there is a handler for requests with a ticket, cookies count: one with a ticket, or with a token as its header
    would have it, if the request brings no other login. Programs that can send no headers of their own read so.
    """

    @wraps(handler)
    async def identified(request: web.Request) -> web.StreamResponse:
        arrival = arrival_of(request)
        if ticketed is not None and not any(name in request.headers for name in _LOGINS):
            cookies = request.cookies
            if COOKIE in cookies:
                return await ticketed(request)
            if TOKEN_HEADER in cookies:
                arrival = replace(arrival, headers=_with(request.headers, TOKEN_HEADER, cookies[TOKEN_HEADER]))
        caller = await identity.identify(arrival)
        request[CALLER] = caller if rules is None else replace(caller, rules=rules)
        return await handler(request)

    return identified


def _with(headers: CIMultiDictProxy[str], name: str, value: str) -> CIMultiDict[str]:
    more = headers.copy()
    more[name] = value
    return more
