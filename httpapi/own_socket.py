"""A second descriptor of a request's connection: image data moves between the socket and its own memory.

asyncio's transport copies what it receives and what it cannot send at once, and aiohttp's parser copies what it is
given; for megabytes that costs more than sending and receiving do. Small things go the usual way, and so does
everything over TLS.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from asyncio.trsock import TransportSocket

    from aiohttp import web


def own_socket(request: web.Request) -> socket.socket | None:
    """A non-blocking socket of its own on the request's connection; None where there must be none, or can be none.

    Whoever has it closes it; a process needs two descriptors for such a connection. The transport must have nothing to
    send while it sends, and not read while it reads.
    """
    transport = request.transport
    if transport is None or transport.is_closing() or transport.get_extra_info("sslcontext") is not None:
        return None
    theirs: TransportSocket | None = transport.get_extra_info("socket")
    try:
        return None if theirs is None else theirs.dup()
    except OSError:
        return None


async def readable(of: socket.socket, seconds: float) -> bool:
    """Wait until there is something to read, or the end; False if there was nothing for so long."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(of, ready.set)
    try:
        return await _within(ready, seconds)
    finally:
        loop.remove_reader(of)


async def writable(of: socket.socket, seconds: float) -> bool:
    """Wait until the socket takes more; False if the other end took nothing for so long.

    The kernel says that there is room when a third of its buffer is free, which may take a slow client longer: as long
    as what it has gets less, that one is waited for.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(of, ready.set)
    try:
        before = None
        while not ready.is_set():
            left = _unacknowledged(of)
            if left == before:
                return False
            before = left
            await _within(ready, seconds)
        return True
    finally:
        loop.remove_writer(of)


async def _within(ready: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ready.wait()
    return ready.is_set()


def _unacknowledged(of: socket.socket) -> int:
    """Bytes that the other end has not taken yet, tcp(7)'s SIOCOUTQ."""
    (count,) = struct.unpack("i", fcntl.ioctl(of, termios.TIOCOUTQ, bytes(4)))
    return int(count)
