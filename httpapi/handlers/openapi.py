"""`GET /openapi.json`: the routes of this very server, for whoever may come in: it tells of nobody's images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from httpapi.body import refuse_body
from httpapi.handlers.schemas import words_of
from httpapi.openapi.document import document
from httpapi.proxies import base_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.limits import Limits
    from httpapi.routes import RouteTables


class OpenApiHandlers:
    """The document, made when it is asked for first; the routes are told once all of them are known."""

    def __init__(self) -> None:
        self._make: Callable[[], dict[str, Any]] = dict
        self._rest = b""

    def describe(self, routes: RouteTables, limits: Limits) -> None:
        """These are the routes, and what may be said in them."""
        self._make = lambda: document(routes, words_of(limits))

    async def show(self, request: web.Request) -> web.Response:
        """The document, with the address that was asked as its server."""
        refuse_body(request)
        if not self._rest:
            self._rest = json.dumps(self._make()).encode()[1:]
        servers = json.dumps([{"url": base_url(request)}]).encode()
        return web.Response(body=b'{"servers": %b, %b' % (servers, self._rest), content_type="application/json")
