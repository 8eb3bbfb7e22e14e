"""Where and how the server listens; the socket is aiohttp's, except that no TLS handshake takes for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from httpapi.time_limits import BODY_SECONDS, HEADER_SECONDS

if TYPE_CHECKING:
    from httpapi.setting_values import Listen
    from httpapi.tls import Tls


@dataclass(frozen=True, slots=True)
class Listening:
    """An address to listen on, over TLS if there is any, and its limits in seconds.

    A handshake or a request's head may take `header_timeout`; a body that stands still ends after `body_timeout`.
    `reuse_port` lets several processes listen on the one port.
    """

    address: Listen
    tls: Tls | None = None
    header_timeout: float = HEADER_SECONDS
    body_timeout: float = BODY_SECONDS
    reuse_port: bool = False

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "http" if self.tls is None else "https"


class Site(web.BaseSite):
    """The listening socket."""

    __slots__ = ("_listening",)

    def __init__(self, runner: web.AppRunner, listening: Listening) -> None:
        super().__init__(runner, ssl_context=None if listening.tls is None else listening.tls.context)
        self._listening = listening

    @property
    def name(self) -> str:
        """The address, for people."""
        return f"{self._listening.scheme}://{self._listening.address}"

    async def start(self) -> None:
        """Listen; raises OSError when the address cannot be had."""
        await super().start()
        assert self._runner.server is not None
        # asyncio refuses these limits where there is no TLS.
        secure = self._ssl_context is not None
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,
            self._listening.address.host,
            self._listening.address.port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            reuse_port=self._listening.reuse_port or None,
            ssl_handshake_timeout=self._listening.header_timeout if secure else None,
            # What is left of the last answer goes out in this time too.
            ssl_shutdown_timeout=self._listening.body_timeout if secure else None,
        )
