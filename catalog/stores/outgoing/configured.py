"""Requests to what the operator has configured: an object store's endpoint, and where it logs in.

Its addresses come from the operator's own file, so none is judged. No redirects are followed, no proxies or passwords
of the environment used. Nothing waits for ever, and no error tells a URL: the caller says what it has asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from blockstore import clock
from catalog.blocking import to_its_end
from catalog.stores.outgoing.pace import SLOWEST, Pace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping

MOST_ANSWERED: Final = 8 << 20
"""The longest answer that is taken whole: a listing."""
PIECE: Final = 1 << 20
CONNECT_SECONDS: Final = 5.0
_PATIENT: Final = 30
"""So many times as long as it may be silent, a server may be slow."""


class NoAnswer(Exception):
    """The endpoint cannot be reached, is silent or broke off; the message says which, in a few words."""


class Silent(NoAnswer):
    """It lets us wait: asking again would take as long again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was taken whole, or its head; header names without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


class Streamed:
    """An answer whose body is still to come, at a pace that is looked at after each `pace` seconds of waiting."""

    def __init__(self, response: aiohttp.ClientResponse, pace: float) -> None:
        self._response = response
        self._pace = Pace(pace)
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def pieces(self) -> AsyncGenerator[memoryview, None]:
        """The body in pieces of at most 1 MiB; NoAnswer if it breaks off, stands still, or hardly moves."""
        with _told():
            while True:
                began = clock.monotonic()
                view = memoryview(await self._response.content.readany())
                if not view:
                    return
                if not self._pace.is_kept(clock.monotonic() - began, len(view)):
                    raise Silent(f"it sends less than {SLOWEST >> 10} KiB/s")
                for begin in range(0, len(view), PIECE):
                    yield view[begin : begin + PIECE]

    async def whole(self) -> Reply:
        """All of it."""
        with _told():
            body = await self._response.content.read(MOST_ANSWERED)
            while not self._response.content.at_eof():
                body += await self._response.content.read(MOST_ANSWERED)
                if len(body) > MOST_ANSWERED:
                    raise NoAnswer("it answers without an end")
        return Reply(self.status, self.headers, body)


class ConfiguredClient:
    """Connections to configured endpoints, opened when first used, in the loop that uses them.

    `patience`: seconds for an answer to begin, and between two of its parts. `tls`: whom to trust, if not whom the
    system trusts. `pace`: seconds of waiting between two looks at how fast a streamed answer comes.
    """

    def __init__(self, patience: float, *, tls: ssl.SSLContext | None = None, pace: float | None = None) -> None:
        self._patience = patience
        self._pace = _PATIENT * patience if pace is None else pace
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float | None = None
    ) -> Reply:
        """A small request and its whole answer, within `seconds`, or `patience`. Raises NoAnswer."""
        try:
            async with asyncio.timeout(seconds or self._patience), self._asked(method, url, headers, body) as answer:
                return await answer.whole()
        except TimeoutError:
            raise Silent("it does not answer in time") from None

    @contextlib.asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Streamed]:
        """The answer to a GET, its body to be read piece by piece. Raises NoAnswer."""
        async with self._asked("GET", url, headers, b"") as answer:
            yield answer

    async def put(
        self, url: str, headers: Mapping[str, str], body: AsyncIterable[bytes | memoryview], *, seconds: float
    ) -> Reply:
        """Send a body piece by piece, and take the answer, which has `seconds` to come. Raises NoAnswer.

        What `body` raises passes through, and it is read by the caller's own task. `headers` have its Content-Length.
        """
        handed = _Handed()
        answer = asyncio.ensure_future(self._answer_to("PUT", url, headers, handed.pieces()))
        try:
            async for piece in body:
                # A copy: the transport may keep what it cannot send at once, longer than the piece is valid.
                await handed.give(bytes(piece), answer, self._patience)
                if answer.done():
                    break
            await handed.give(None, answer, self._patience)
            await asyncio.wait({answer}, timeout=seconds)
            if not answer.done():
                raise Silent("it does not answer in time")
            return answer.result()
        finally:
            answer.cancel()
            # Until it is gone it may hold pieces; what it says then is nobody's business.
            await to_its_end(asyncio.gather(answer, return_exceptions=True))

    async def close(self) -> None:
        """Let connections go."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _answer_to(self, method: str, url: str, headers: Mapping[str, str], body: AsyncIterable[bytes]) -> Reply:
        async with self._asked(method, url, headers, body) as answer:
            return await answer.whole()

    @contextlib.asynccontextmanager
    async def _asked(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | AsyncIterable[bytes]
    ) -> AsyncIterator[Streamed]:
        told = {"User-Agent": "drystone", "Accept-Encoding": "identity", **headers}
        with _told():
            response = await self._opened().request(
                method, URL(url, encoded=True), headers=told, data=body or None, allow_redirects=False
            )
        async with response:
            yield Streamed(response, self._pace)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, ssl=self._tls or ssl.create_default_context(), keepalive_timeout=15.0
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=2 * CONNECT_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=self._patience
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=PIECE,
            )
        return self._session


class _Handed:
    """A body that one task gives piece by piece and another sends: a piece is given when the next one is asked for."""

    def __init__(self) -> None:
        self._next: asyncio.Queue[bytes | None] = asyncio.Queue(1)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What is given, until the end."""
        while (piece := await self._next.get()) is not None:
            yield piece

    async def give(self, piece: bytes | None, answer: asyncio.Future[Reply], seconds: float) -> None:
        """Wait until there is room for this piece (None: no more comes), or the answer is there already."""
        giving = asyncio.ensure_future(self._next.put(piece))
        try:
            either: set[asyncio.Future[None] | asyncio.Future[Reply]] = {giving, answer}
            done, _ = await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving.cancel()
        if not done:
            raise Silent("it does not take the bytes in time")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What can go wrong on the way, as NoAnswer."""
    try:
        yield
    except TimeoutError:
        raise Silent("it does not answer in time") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError):
        raise NoAnswer("its certificate cannot be trusted") from None
    except aiohttp.ClientConnectorError as error:
        # By its number, where it has one: asyncio's own words name the address.
        number = error.os_error.errno
        reason = os.strerror(number) if number and number > 0 else error.os_error.strerror
        raise NoAnswer(f"no connection ({reason or type(error.os_error).__name__})") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswer(f"it broke off: {type(error).__name__}") from None
