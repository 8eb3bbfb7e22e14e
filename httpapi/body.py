"""A request's body, asked for only when wanted.

`100 Continue` is sent with the first read, so whatever is refused before never invites the body. A sender that goes
away, breaks the transfer or stops is an error that says which.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11, http_exceptions, web

from catalog.model.errors import SizeMismatch, SourceLost
from httpapi.access_log import ACCESS_LINE
from httpapi.connection import Connection
from httpapi.own_socket import own_socket, readable
from httpapi.wire.errors import BadRequest, BodyTimeout, BodyTooLarge, UnsupportedBody
from httpapi.wire.json_body import LARGEST_JSON

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from aiohttp.streams import StreamReader

    from httpapi.wire.sizes import Announced

LONG: Final = 4 * 1024 * 1024
"""A body with so many bytes left is worth a connection of its own."""
WORTH_WAKING: Final = 1024 * 1024
"""Bytes that should wait in the socket before anybody is woken for them."""
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


class BodySource:
    """A request's body as the source of an image's bytes: `catalog.ports.Source`. Close it.

    What is long and not in chunks is received right into the memory that it is for (`own_socket.py`). aiohttp then
    never sees the end of the body, so the connection ends with the answer. `received` counts the bytes, and so does the
    request's line in the log.
    """

    def __init__(self, request: web.Request, sizes: Announced, *, idle_seconds: float) -> None:
        self.received = 0
        self._request = request
        self._sizes = sizes
        self._idle = idle_seconds
        self._invited = False
        self._piece = memoryview(b"")
        self._own: socket.socket | None = None

    async def read_into(self, room: memoryview) -> int:
        """Put the next bytes at the beginning of `room`; gives how many, 0 at the end.

        Errors as `pieces`, and SizeMismatch before anything is read if what was announced cannot be right.
        """
        if not self._invited:
            if self._sizes.disagrees:
                expected, got = self._sizes.image_size, self._sizes.content_length
                raise SizeMismatch(f"Size mismatch: expected {expected} bytes, got {got} bytes")
            self._invited = True
            await _invite(self._request)
        if self._own is None and not self._piece:
            await self._next()
        if self._own is not None:
            got = await self._receive(self._own, room)
        else:
            got = min(len(room), len(self._piece))
            room[:got] = self._piece[:got]
            self._piece = self._piece[got:]
        self.received += got
        self._request[ACCESS_LINE].received = self.received
        return got

    def close(self) -> None:
        """Give back what receiving took."""
        if self._own is None:
            return
        with suppress(OSError):
            self._own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._own.close()
        transport = self._request.transport
        if self._left() and transport is not None:
            # It is read and dropped for a moment, so that the sender sees the answer.
            transport.resume_reading()

    async def _next(self) -> None:
        """The next piece, or the first moment at which nothing waits anywhere: the rest can then be received here."""
        content, transport = self._request.content, self._request.transport
        with _told():
            self._piece = memoryview(content.read_nowait())
        if self._piece or content.is_eof():
            return
        connection = self._request.protocol
        if transport is None or (isinstance(connection, Connection) and connection.is_given_up):
            # What came in between was dropped: nothing may be put behind the gap.
            raise _lost(ConnectionError("the connection is given up"))
        if isinstance(connection, Connection) and self._left() >= LONG:
            self._own = own_socket(self._request)
            connection.ends_with_the_answer = self._own is not None
        if self._own is None:
            self._piece = memoryview(await _next_piece(content, self._idle))
            return
        transport.pause_reading()

    async def _receive(self, own: socket.socket, room: memoryview) -> int:
        content, transport, left = self._request.content, self._request.transport, self._left()
        if not left:
            content.feed_eof()
            if transport is not None:
                # Which has it read on: but what follows here is no request, as far as its parser knows.
                transport.pause_reading()
            return 0
        waited = False
        while True:
            with _told():
                if (broken := content.exception()) is not None:
                    raise broken
            try:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(left, WORTH_WAKING))
                got = own.recv_into(room[:left])
            except BlockingIOError:
                # Less than what is worth waking for may have come meanwhile: so one more look after the time is up.
                if waited:
                    raise _too_late(self._idle) from None
                waited = not await readable(own, self._idle)
            except OSError as error:
                raise _lost(error) from error
            else:
                if not got:
                    raise _lost(EOFError(f"{left} bytes are missing"))
                return got

    def _left(self) -> int:
        """Bytes that Content-Length promises and that did not come yet; 0 without one."""
        chunked = self._request.headers.get("Transfer-Encoding") is not None
        return 0 if chunked else (self._request.content_length or 0) - self.received - len(self._piece)


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
    with _told():
        if piece := content.read_nowait():
            return piece
        try:
            async with asyncio.timeout(idle_seconds):
                return await content.readany()
        except TimeoutError:
            raise _too_late(idle_seconds) from None


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise _lost(error) from error


def _too_late(idle_seconds: float) -> BodyTimeout:
    return BodyTimeout(f"No byte of the body came for {idle_seconds:g} seconds: nothing was stored, send it again.")


def _lost(error: Exception) -> SourceLost:
    reason = str(error) or type(error).__name__
    return SourceLost(f"The body ended early ({reason}): nothing was stored, send it again.")
