"""A request's body as a stream that is asked for only when wanted.

`100 Continue` is sent with the first read, so whatever is refused before never invites the body. A sender that goes
away, breaks the transfer or stops ends the stream with an error that says which.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, http_exceptions, web

from catalog.model.errors import SourceLost
from httpapi.wire.errors import BadRequest, BodyTimeout, BodyTooLarge, UnsupportedBody
from httpapi.wire.json_body import LARGEST_JSON

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiohttp.streams import StreamReader

_BROKEN = (OSError, web.RequestPayloadError, http_exceptions.HttpProcessingError)


async def pieces(request: web.Request, *, idle_seconds: float) -> AsyncGenerator[bytes, None]:
    """The body's bytes as they come, each piece at least one byte.

    Raises SourceLost when the sender goes away or breaks the transfer, BodyTimeout when nothing comes for
    `idle_seconds`.
    """
    await _invite(request)
    while piece := await _next_piece(request.content, idle_seconds):
        yield piece


async def read_json(request: web.Request, *, idle_seconds: float) -> bytes:
    """A whole body of at most `LARGEST_JSON` bytes; raises BodyTooLarge, and what `pieces` does."""
    check_encoding(request)
    body = bytearray()
    if (request.content_length or 0) <= LARGEST_JSON:
        async for piece in pieces(request, idle_seconds=idle_seconds):
            body += piece
            if len(body) > LARGEST_JSON:
                break
        else:
            return bytes(body)
    raise BodyTooLarge(f"A JSON body may have {LARGEST_JSON} bytes at most.")


def check_encoding(request: web.Request) -> None:
    """Raise UnsupportedBody for a compressed body: what is stored is what was sent, byte for byte."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedBody(f"Content-Encoding {encoding[:80]!r} is not taken: send the bytes as they are.")


def refuse_body(request: web.Request) -> None:
    """Raise BadRequest where a route takes no body and one came."""
    if request.body_exists:
        raise BadRequest("A body is not expected with this request.")


async def later(_request: web.Request) -> None:
    """The routes' answer to Expect: nothing yet; the first read of the body invites it."""


async def _invite(request: web.Request) -> None:
    expects = "Expect" in request.headers and request.version >= HttpVersion11
    if expects and not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # These bytes are no part of the answer that is still to come.
        request.writer.output_size = 0


async def _next_piece(content: StreamReader, idle_seconds: float) -> bytes:
    """What has come so far, or the next that comes; empty at the end. A timer runs only while there is nothing."""
    try:
        if piece := content.read_nowait():
            return piece
        async with asyncio.timeout(idle_seconds):
            return await content.readany()
    except TimeoutError:
        raise BodyTimeout(
            f"No byte of the body came for {idle_seconds:g} seconds: nothing was stored, send it again."
        ) from None
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise SourceLost(f"The body ended early ({reason}): nothing was stored, send it again.") from error
