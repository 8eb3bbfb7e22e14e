"""Names are resolved once, by us; what is connected to are the addresses that were judged, and no others."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp.abc import AbstractResolver, ResolveResult

from catalog.stores.outgoing.addresses import read_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.stores.outgoing.rules import Rules

_AT_ONCE: Final = 8


class Names(Protocol):
    """Who knows the addresses of names."""

    async def addresses(self, name: str) -> Sequence[str]:
        """The addresses of a name, at least one; raises OSError."""
        ...


class SystemNames:
    """The names that this machine knows: its hosts file, its DNS servers.

    On threads of its own: whoever names hosts whose servers are silent has each thread wait for half a minute, and on
    the process's common ones downloads would wait behind them.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="names")

    async def addresses(self, name: str) -> Sequence[str]:
        """As the system's resolver says."""
        ask = partial(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [str(sockaddr[0]) for *_, sockaddr in found]


class JudgedNames(AbstractResolver):
    """aiohttp's resolver: gives a name's addresses only if the rules allow them all."""

    def __init__(self, names: Names, rules: Rules) -> None:
        self._names = names
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises AddressRefused, and OSError for a name that has no address."""
        addresses = await self._names.addresses(host)
        self._rules.judge(host, port, addresses)
        return [_found(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing is open."""


def _found(host: str, port: int, address: str) -> ResolveResult:
    return {
        "hostname": host,
        "host": address,
        "port": port,
        "family": socket.AF_INET6 if read_address(address).version == 6 else socket.AF_INET,
        "proto": 0,
        "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    }
