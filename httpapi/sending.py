"""Sending a body to a client that may stand still: it must not hold the service's memory for ever.

A piece goes from its own memory, or from its pack, straight into the socket where it can (`own_socket.py`). Over TLS,
or while the transport still has something to send itself, it takes the piece.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from socket import MSG_MORE
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from aiohttp import ClientConnectionResetError, web

from blockstore.stored_span import PackBytes, StoredSpan
from httpapi.own_socket import own_socket, writable

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from blockstore.stored_span import Part

Piece: TypeAlias = "bytes | memoryview | StoredSpan"
MOST_AT_ONCE: Final = 256
"""Parts that one call sends; the system takes 1024."""


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

    async def send(self, piece: Piece) -> None:
        """Send one piece, whose memory is free again afterwards.

        Raises ClientStalled when not a byte of it moves for `idle_seconds`, at most twice that, and ConnectionError
        when the client has gone. A slow client is no stalled one.
        """
        self._request.writer.send_headers()
        if not piece:
            # As a chunk it would be the end.
            return
        parts = piece.parts if isinstance(piece, StoredSpan) else [memoryview(piece)]
        if self._socket is None or self._waiting():
            await self._by_transport(await _in_memory(piece))
        elif self._response.chunked:
            # One chunk of RFC 9112, 7.1.
            head = b"%x\r\n" % len(piece)
            await self._by_socket(self._socket, [head, *parts, b"\r\n"], len(head), len(piece))
        else:
            await self._by_socket(self._socket, parts, 0, len(piece))

    async def _by_socket(self, to: socket.socket, parts: Sequence[Part], head: int, body: int) -> None:
        before, done, left = self.sent, 0, deque(parts)
        while left:
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ClientConnectionResetError("the connection is closing")
            try:
                sent = _send_some(to, left)
            except BlockingIOError:
                if not await writable(to, self._idle):
                    raise self._stalled() from None
            except OSError as error:
                raise ClientConnectionResetError(str(error)) from error
            else:
                done += sent
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


def _send_some(to: socket.socket, left: deque[Part]) -> int:
    """Send what goes of the first parts that are alike, and take it off; how many bytes."""
    if isinstance(left[0], PackBytes):
        sent = left[0].send(to.fileno())
    else:
        memory = []
        for part in itertools.islice(left, MOST_AT_ONCE):
            if isinstance(part, PackBytes):
                break
            memory.append(part)
        sent = to.sendmsg(memory, [], MSG_MORE if len(memory) < len(left) else 0)
    _take_off(left, sent)
    return sent


def _take_off(left: deque[Part], sent: int) -> None:
    while left and sent >= len(left[0]):
        sent -= len(left.popleft())
    if sent:
        first = left[0]
        left[0] = first.after(sent) if isinstance(first, PackBytes) else memoryview(first)[sent:]


async def _in_memory(piece: Piece) -> bytes:
    return await asyncio.to_thread(piece.load) if isinstance(piece, StoredSpan) else bytes(piece)
