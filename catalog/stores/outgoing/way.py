"""One request that leaves: judged, connected to a judged address, led on a few times, each time judged again."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin
from weakref import WeakSet

import aiohttp
from yarl import URL

from catalog.model.errors import AddressRefused, SourceRefused
from catalog.stores.outgoing.answers import asked_to_wait
from catalog.stores.outgoing.names import JudgedNames

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from catalog.stores.outgoing.names import Names
    from catalog.stores.outgoing.rules import Rules
    from catalog.stores.outgoing.urls import Target

MOST_REDIRECTS: Final = 5
_LEADS_ON: Final = frozenset({301, 302, 303, 307, 308})
# What a server says when the same question may be answered later.
_LATER: Final = frozenset({408, 425, 429})
# What the stream reader holds when a connection breaks is lost and fetched again: little, at the cost of nothing.
_READ_AHEAD: Final = 16 << 10
_LEAVE_TURNS: Final = 25
_LEAVE_SECONDS: Final = 0.01


class Broken(Exception):
    """A try failed in a way that another one may not; the message says how.

    `wait`: seconds that the server asks for before the next one.
    """

    def __init__(self, message: str, *, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds: for a connection (name and TLS included), without a byte of an answer, between two looks at its pace.

    `asked`: as long as that a server may have us wait before we ask again.
    A source that keeps us waiting for more than `pace` seconds in all must have given SLOWEST bytes for each of them.
    """

    connect: float = 10.0
    silence: float = 60.0
    pace: float = 300.0
    asked: float = 60.0


class Way:
    """One process' way out, under one set of rules; for its event loop, where it opens what it needs.

    No cookies, no proxies or passwords of the environment, no compression, no connection used twice.
    """

    def __init__(self, rules: Rules, names: Names, waits: Waits, tls: ssl.SSLContext | None) -> None:
        self.rules = rules
        self.waits = waits
        self._names = names
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def check(self, target: Target) -> None:
        """Judge where a name leads now; one that has no address now is no matter of rules. Raises AddressRefused."""
        if target.address is not None:
            return
        try:
            async with asyncio.timeout(self.waits.connect):
                addresses = await self._names.addresses(target.host)
        except OSError:
            return
        self.rules.judge(target.host, target.port, addresses)

    async def get(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The answer to a GET, its body not yet read: 200, 206 or 416. Close it.

        `headers` go to whoever `url` names and to nobody to whom it leads.
        Raises AddressRefused, SourceRefused, SourceLost, and Broken for what another try may mend.
        """
        first = target = self.rules.target(url)
        for _ in range(MOST_REDIRECTS + 1):
            given = headers if target.origin == first.origin else _without_secrets(headers)
            try:
                response = await self._ask(target, given)
            except AddressRefused as error:
                if target is first:
                    raise
                raise AddressRefused(f"{first} leads on to what is not asked. {error}") from None
            if response.status not in _LEADS_ON:
                return _judged(response, target)
            response.close()
            target = self._next(target, response.headers.get("Location"))
        raise SourceRefused(f"{first} leads on more than {MOST_REDIRECTS} times.")

    async def close(self) -> None:
        """Let connections go."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        # TLS takes leave of the other end, which aiohttp does not wait for; nor do we for long.
        for _ in range(_LEAVE_TURNS):
            if all(each.fileno() < 0 for each in self._sockets):
                break
            await asyncio.sleep(_LEAVE_SECONDS)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(info[0], info[1], info[2])
        self._sockets.add(made)
        return made

    def _next(self, target: Target, location: str | None) -> Target:
        if location is None:
            raise SourceRefused(f"{target} leads on and does not say where.")
        try:
            found = self.rules.target(urljoin(_text_of(target), location.strip()))
        except (AddressRefused, ValueError) as error:
            raise AddressRefused(f"{target} leads on to what is not asked. {error}") from None
        if (target.scheme, found.scheme) == ("https", "http"):
            raise AddressRefused(f"{target} leads on from https to http, where nobody can tell who answers.")
        return found

    async def _ask(self, target: Target, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        url = URL.build(
            scheme=target.scheme,
            host=target.host,
            port=target.port,
            path=target.path,
            query_string=target.query,
            encoded=True,
        )
        try:
            # All until the headers are there: each of aiohttp's own times begins anew with every byte.
            async with asyncio.timeout(self.waits.connect + self.waits.silence):
                return await self._opened().get(url, headers=headers, allow_redirects=False)
        except TimeoutError:
            raise Broken(f"{target} does not answer in time") from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise SourceRefused(f"{target} cannot be trusted: {_reason(error)}.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Broken(f"{target} cannot be asked ({_reason(error)})") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=JudgedNames(self._names, self.rules),
                    use_dns_cache=False,
                    force_close=True,
                    limit=0,
                    ssl=self._tls or True,
                    socket_factory=self._socket,
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self.waits.connect, sock_read=self.waits.silence, ceil_threshold=60
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=_READ_AHEAD,
                headers={"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "drystone"},
            )
        return self._session


def _judged(response: aiohttp.ClientResponse, target: Target) -> aiohttp.ClientResponse:
    status = response.status
    if status in {200, 206, 416}:
        return response
    response.close()
    if status in _LATER or status >= 500:
        raise Broken(f"{target} answers {status}", wait=asked_to_wait(response.headers))
    raise SourceRefused(f"{target} answers {status}.", status)


def _without_secrets(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: text for name, text in headers.items() if name in {"Range", "If-Range"}}


def _text_of(target: Target) -> str:
    return f"{target}?{target.query}" if target.query else str(target)


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    text = cause.strerror if isinstance(cause, OSError) else str(cause)
    return str(text or type(cause).__name__)[:200]
