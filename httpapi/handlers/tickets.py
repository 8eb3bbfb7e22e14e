"""Signed URLs: `POST /v2/images/{id}/actions/sign`, `/signed/TICKET/NAME`, and images read with a cookie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from catalog.usecases import tickets
from httpapi.access_log import ACCESS_LINE
from httpapi.body import read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_data import give, give_head
from httpapi.handlers.image_record import wire_time
from httpapi.proxies import base_url
from httpapi.wire.json_body import parse_object
from httpapi.wire.tickets import COOKIE, SignedUrl, signed_path, wanted_seconds

if TYPE_CHECKING:
    from catalog.tickets import Ticket
    from catalog.usecases.image_data import Download
    from catalog.usecases.services import Services

_SECRET: Final = {"Cache-Control": "no-store"}
_UNSEEN: Final = {
    "Cache-Control": "private",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Who sees a signed URL has it: so it is no Referer, no shared cache's, and no page of ours."""


@dataclass(frozen=True, slots=True)
class TicketHandlers:
    """Making tickets, and reading with them; `body_timeout` is how many seconds a transfer may stand still."""

    services: Services
    body_timeout: float

    async def sign(self, request: web.Request) -> web.Response:
        """A URL and a cookie for whoever is given them; a body is not needed."""
        body = await read_json(request, idle_seconds=self.body_timeout)
        seconds = wanted_seconds(parse_object(body) if body else {})
        image_id = request.match_info["image_id"]
        made = await tickets.sign(self.services, request[CALLER], image_id, seconds)
        base = base_url(request)
        told = SignedUrl(
            url=base + signed_path(made.url_ticket, made.name),
            cookie=f"{COOKIE}={made.cookie_ticket}",
            cookie_url=f"{base}/v2/images/{made.image_id}/file",
            expires_at=wire_time(made.expires_at),
        )
        text = json.dumps(told.to_json()).encode()
        return web.Response(body=text, content_type="application/json", headers=_SECRET)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes of the image that the URL is signed for, or the part of them that is asked for."""
        refuse_body(request)
        return await give(request, await self._by_url(request), _UNSEEN, idle_seconds=self.body_timeout)

    async def head(self, request: web.Request) -> web.StreamResponse:
        """The headers of a whole read, no bytes."""
        return give_head(request, await self._by_url(request), _UNSEEN)

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """The same of `/v2/images/{id}/file`, for a request whose cookie has a ticket."""
        refuse_body(request)
        return await give(request, await self._by_cookie(request), _UNSEEN, idle_seconds=self.body_timeout)

    async def head_file(self, request: web.Request) -> web.StreamResponse:
        """Its headers."""
        return give_head(request, await self._by_cookie(request), _UNSEEN)

    async def _by_url(self, request: web.Request) -> Download:
        # As it was sent: an escape for a character that needs none is another text.
        *_, text, name = request.rel_url.raw_path.split("/")
        return _noted(request, await tickets.download(self.services, text, name=name))

    async def _by_cookie(self, request: web.Request) -> Download:
        text, image_id = request.cookies[COOKIE], request.match_info["image_id"]
        return _noted(request, await tickets.download(self.services, text, image_id=image_id))


def _noted(request: web.Request, opened: tuple[Ticket, Download]) -> Download:
    """What was opened; the log says by which key, where else it says who."""
    ticket, download = opened
    request[ACCESS_LINE].url_key = ticket.key_id.hex()
    return download
