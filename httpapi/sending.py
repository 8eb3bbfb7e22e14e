"""Sending a piece of a body to a client that may stand still: it must not hold the service's memory for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


class ClientStalled(ConnectionError):
    """The client took no byte for too long."""


async def send(request: web.Request, response: web.StreamResponse, piece: bytes, *, idle_seconds: float) -> None:
    """Write one piece; raises ClientStalled when not a byte of it moves for `idle_seconds`, at most twice that.

    A slow client is no stalled one: only what is still waiting in our own buffer is compared.
    """
    writing = asyncio.ensure_future(response.write(piece))
    try:
        await _while_it_moves(request, writing, idle_seconds)
    except BaseException:
        writing.cancel()
        raise
    writing.result()


async def _while_it_moves(request: web.Request, writing: asyncio.Future[None], idle_seconds: float) -> None:
    waiting = None
    while not (await asyncio.wait({writing}, timeout=idle_seconds))[0]:
        before, waiting = waiting, 0 if request.transport is None else request.transport.get_write_buffer_size()
        if waiting == before:
            raise ClientStalled(f"the client took nothing for {idle_seconds:g} seconds")
