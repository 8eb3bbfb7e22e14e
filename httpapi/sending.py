"""Sending a body to a client that may stand still: it must not hold the service's memory for ever.

A piece goes from its own memory straight into the socket where it can (`own_socket.py`). Over TLS, or while the
transport still has something to send itself, it takes the piece.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from aiohttp import ClientConnectionResetError, web

from httpapi.own_socket import own_socket, writable

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence


class ClientStalled(ConnectionError):
    """The client took no byte for too long."""


class BodySender:
    """Sends the body of one answer, piece by piece; a context manager, since it has a descriptor of its own."""

    def __init__(self, request: web.Request, response: web.StreamResponse, *, idle_seconds: float) -> None:
        self._request = request
        self._response = response
        self._idle = idle_seconds
        self.sent = 0
        """Bytes of the body that have left: into the socket, which may still lose them."""
        self._socket = own_socket(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    async def send(self, piece: bytes | memoryview) -> None:
        """Send one piece, whose memory is free again afterwards.

        Raises ClientStalled when not a byte of it moves for `idle_seconds`, at most twice that, and ConnectionError
        when the client has gone. A slow client is no stalled one.
        """
        self._request.writer.send_headers()
        if not piece:
            # As a chunk it would be the end.
            return
        if self._socket is None or self._waiting():
            await self._by_transport(bytes(piece))
        elif self._response.chunked:
            # One chunk of RFC 9112, 7.1.
            head = b"%x\r\n" % len(piece)
            await self._by_socket(self._socket, [head, memoryview(piece), b"\r\n"], len(head), len(piece))
        else:
            await self._by_socket(self._socket, [memoryview(piece)], 0, len(piece))

    async def _by_socket(self, to: socket.socket, parts: Sequence[bytes | memoryview], head: int, body: int) -> None:
        before, done = self.sent, 0
        while parts:
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ClientConnectionResetError("the connection is closing")
            try:
                sent = to.sendmsg(parts)
            except BlockingIOError:
                if not await writable(to, self._idle):
                    raise self._stalled() from None
            except OSError as error:
                raise ClientConnectionResetError(str(error)) from error
            else:
                parts, done = _after(parts, sent), done + sent
                self.sent = before + min(max(0, done - head), body)

    async def _by_transport(self, piece: bytes) -> None:
        writing = asyncio.ensure_future(self._response.write(piece))
        try:
            await self._while_it_moves(writing)
            writing.result()
        except BaseException:
            writing.cancel()
            self.sent += max(0, len(piece) - self._waiting())
            raise
        self.sent += len(piece)

    async def _while_it_moves(self, writing: asyncio.Future[None]) -> None:
        waiting = None
        while not (await asyncio.wait({writing}, timeout=self._idle))[0]:
            before, waiting = waiting, self._waiting()
            if waiting == before:
                raise self._stalled()

    def _stalled(self) -> ClientStalled:
        return ClientStalled(f"the client took nothing for {self._idle:g} seconds")

    def _waiting(self) -> int:
        """Bytes that the transport has yet to send."""
        return 0 if self._request.transport is None else self._request.transport.get_write_buffer_size()


def _after(parts: Sequence[bytes | memoryview], sent: int) -> Sequence[bytes | memoryview]:
    """What is left of `parts` after so many bytes."""
    for at, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *parts[at + 1 :]]
        sent -= len(part)
    return []
