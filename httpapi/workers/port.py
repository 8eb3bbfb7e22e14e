"""One port for several processes of ours, and of nobody else.

SO_REUSEPORT lets every program of the same user listen on the same port, and the kernel then deals out connections:
a second server on another data directory would answer half of the requests, without a word. So the port is first taken
as a single server takes it, listening, without SO_REUSEPORT: that fails if anybody listens there. Only then is it
opened to others. What stays is a socket that is bound and never listens: it gets no connections, keeps the port while
workers come and go, and since it does not allow SO_REUSEADDR any more, nobody else can take the port in that way.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from httpapi.setting_values import Listen
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

Address: TypeAlias = tuple[str | int, ...]
"""As the socket library has it: host, port, and for IPv6 two numbers more."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A port that is ours until closed; `listen` is the address to listen on, its port never 0."""

    listen: Listen
    sockets: Sequence[socket.socket]

    def close(self) -> None:
        """Let the port go."""
        for each in self.sockets:
            each.close()


def reserve(listen: Listen) -> Reservation:
    """Take the port for workers, on every address that the host's name has; raises SettingsRefused if it is in use."""
    port = listen.port
    with contextlib.ExitStack() as kept:
        sockets = []
        try:
            for family, address in _addresses(listen):
                taken = kept.enter_context(_reserved(family, (address[0], port, *address[2:])))
                port = taken.getsockname()[1]
                sockets.append(taken)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise SettingsRefused(
                f"{listen} cannot be listened on ({reason}): choose another address with --listen HOST:PORT."
            ) from error
        kept.pop_all()
        return Reservation(Listen(listen.host, port), sockets)


def _addresses(listen: Listen) -> list[tuple[int, Address]]:
    """Family and address of each, as asyncio will look them up; raises OSError."""
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(family), cast("Address", address)) for family, _, _, _, address in found))


def _reserved(family: int, address: Address) -> socket.socket:
    with _socket(family) as guard:
        guard.bind(address)
        guard.listen(1)
        # Nobody else listens here, and from now on nobody can without sharing with this one.
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved = _socket(family)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(guard.getsockname())
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except BaseException:
            reserved.close()
            raise
        return reserved


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    # As asyncio's own: a port is free again while old connections to it still die away.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
