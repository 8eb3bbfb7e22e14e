"""An answer's body, piece by piece: the first one is made before the status goes out, and nothing is ever padded."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from blockstore.errors import BlockstoreError
from catalog.model.errors import CatalogError
from httpapi.access_log import ACCESS_LINE
from httpapi.sending import BodySender, ClientStalled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from httpapi.sending import Piece

_log = logging.getLogger("drystone.data")


async def send_body(
    request: web.Request,
    response: web.StreamResponse,
    body: AsyncIterator[Piece],
    *,
    length: int | None,
    idle_seconds: float,
) -> web.StreamResponse:
    """Send an answer about an image with this body, which is closed then; `length` in bytes, if it is known.

    What fails before the first piece is raised, so that damage there is still a 503. Later the connection is cut, also
    when the body has another length or the client takes nothing of it for `idle_seconds`.
    """
    try:
        first = await anext(body, b"")
        await response.prepare(request)
        with BodySender(request, response, idle_seconds=idle_seconds) as sender:
            await _send_pieces(request, sender, _joined(first, body), length)
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()
    return response


async def _send_pieces(
    request: web.Request, sender: BodySender, body: AsyncIterator[Piece], length: int | None
) -> None:
    line = request[ACCESS_LINE]
    try:
        async for piece in body:
            try:
                await sender.send(piece)
            finally:
                line.sent = sender.sent
    except (BlockstoreError, CatalogError, ClientStalled) as error:
        _cut(request, str(error))
    except ConnectionError:
        line.cut = True
        _log.info("The client went away in the middle of a download.")
        if request.transport is not None:
            # Whatever went wrong with it, this connection never sees an orderly end.
            request.transport.abort()
    else:
        if length is not None and line.sent != length:
            _cut(request, f"{line.sent} bytes came where {length} belong")


async def _joined(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    # An empty chunk would be the end of them.
    if first:
        yield first
    async for piece in rest:
        yield piece


def _cut(request: web.Request, cause: str) -> None:
    """End the connection so that nobody takes what was sent for whole: no padding, no orderly end."""
    line = request[ACCESS_LINE]
    _log.error("Download of %s cut off: %s", request.match_info.get("image_id", line.path), cause)
    line.cut = True
    if request.transport is not None:
        request.transport.abort()
