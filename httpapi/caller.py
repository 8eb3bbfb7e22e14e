"""Who is calling, put on the request for the handlers that need it."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.model.caller import Caller
from httpapi.identity.contract import Arrival
from httpapi.proxies import base_url, client_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from catalog.rules import Rules
    from httpapi.identity.contract import Identity

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CALLER = web.RequestKey("caller", Caller)


def arrival_of(request: web.Request) -> Arrival:
    """What an identity may know of a request."""
    return Arrival(request.method, request.rel_url.raw_path, request.headers, client_of(request), base_url(request))


def with_caller(identity: Identity, rules: Rules | None, handler: Handler) -> Handler:
    """The handler, run only for a caller whom the identity knows, and who then has the policy's rules."""

    @wraps(handler)
    async def identified(request: web.Request) -> web.StreamResponse:
        caller = await identity.identify(arrival_of(request))
        request[CALLER] = caller if rules is None else replace(caller, rules=rules)
        return await handler(request)

    return identified
