"""Sending a piece of a body to a client that may stand still: it must not hold the service's memory for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionResetError, web

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.abc import AbstractStreamWriter


class ClientStalled(ConnectionError):
    """The client took no byte for too long."""


async def send(request: web.Request, response: web.StreamResponse, piece: bytes, *, idle_seconds: float) -> None:
    """Write one piece; raises ClientStalled when not a byte of it moves for `idle_seconds`, at most twice that.

    A slow client is no stalled one: only what is still waiting in our own buffer is compared.
    """
    # A view, since asyncio takes a slice of what the socket did not take at once: of bytes that would be a copy.
    view = memoryview(piece)
    writing = asyncio.ensure_future(
        _write_chunk(request.writer, view) if response.chunked else _awaited(response.write(view))
    )
    try:
        await _while_it_moves(request, writing, idle_seconds)
    except BaseException:
        writing.cancel()
        raise
    writing.result()


async def _awaited(written: Awaitable[None]) -> None:
    await written


async def _write_chunk(writer: AbstractStreamWriter, piece: memoryview) -> None:
    """One chunk of RFC 9112, 7.1; aiohttp would join its three parts, and so copy all that is sent once more."""
    writer.send_headers()
    transport = writer.transport
    if transport is None or transport.is_closing():
        raise ClientConnectionResetError("the connection is closing")
    transport.write(b"%x\r\n" % len(piece))
    transport.write(piece)
    transport.write(b"\r\n")
    await writer.drain()


async def _while_it_moves(request: web.Request, writing: asyncio.Future[None], idle_seconds: float) -> None:
    waiting = None
    while not (await asyncio.wait({writing}, timeout=idle_seconds))[0]:
        before, waiting = waiting, 0 if request.transport is None else request.transport.get_write_buffer_size()
        if waiting == before:
            raise ClientStalled(f"the client took nothing for {idle_seconds:g} seconds")
