"""The bytes behind an http(s) address, in order: what breaks is gone on with where the other end can.

For an address that the operator of this machine names, so nothing is refused for where it lies; but nothing is believed
of its length, no redirect leads to another scheme than http and https, and nobody may stand still for ever.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from httpapi.client.auth import trust_of
from httpapi.client.errors import Interrupted, NotAnImageService, SourceRefused, Unreachable, Untrusted
from httpapi.client.transport import Sockets, transport_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

CONNECT_SECONDS: Final = 30.0
STALL_SECONDS: Final = 60.0
TRIES: Final = 5
"""Times in a row that a connection may break without a new byte."""
REDIRECTS: Final = 5
_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-[0-9]+/([0-9]+|\*)", re.ASCII)


async def web_bytes(
    address: str,
    *,
    most: int,
    cacert: Path | None = None,
    told: Callable[[int | None], None],
    stall_seconds: float = STALL_SECONDS,
) -> AsyncGenerator[bytes, None]:
    """Up to `most` bytes, else SourceRefused. `told` hears of the length once, None if the other end does not say it.

    SourceRefused, Untrusted and Interrupted say what is wrong with the connection.
    """
    name = _checked(address)
    sockets = Sockets()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=sockets.make, ssl=trust_of(cacert)),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=stall_seconds),
        headers={"Accept-Encoding": "identity", "Accept": "application/octet-stream, */*;q=0.5"},
        auto_decompress=False,
    )
    reading = _Reading(session, address, name, most, told, stall_seconds)
    try:
        failures = 0
        while not reading.ended:
            before = reading.at
            try:
                async for piece in reading.pieces():
                    yield piece
            except Interrupted:
                failures = 1 if reading.at > before else failures + 1
                if failures >= TRIES or not reading.can_go_on:
                    raise
    finally:
        await session.close()
        await sockets.cut()


def _checked(address: str) -> str:
    """The address without what may be a secret."""
    try:
        parts = urlsplit(address)
        fits = parts.scheme.lower() in {"http", "https"} and parts.hostname
    except ValueError:
        fits = False
    if not fits:
        raise SourceRefused(f"{address!r} is no address to read from: it begins with http:// or https:// and a host")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextmanager
def _source_errors(name: str, stall_seconds: float) -> Iterator[None]:
    """As `transport_errors`, in words for an address that is no image service's."""
    try:
        with transport_errors(name, stall_seconds):
            yield
    except Untrusted:
        raise
    except Unreachable as failure:
        raise SourceRefused(f"cannot reach {name} ({failure.reason}): nothing was read from there") from failure
    except NotAnImageService as failure:
        raise SourceRefused(f"{name} answers, but not in HTTP") from failure


class _Reading:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: str,
        name: str,
        most: int,
        told: Callable[[int | None], None],
        stall_seconds: float,
    ) -> None:
        self._session = session
        self._address = address
        self._name = name
        self._most = most
        self._told: Callable[[int | None], None] | None = told
        self._stall = stall_seconds
        self._tag = ""
        self.at = 0
        self.ended = False

    @property
    def can_go_on(self) -> bool:
        """Whether what follows would certainly be of the same bytes."""
        return self.at == 0 or bool(self._tag)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """From where it is to the end."""
        headers = {"Range": f"bytes={self.at}-", "If-Range": self._tag} if self.at else {}
        with _source_errors(self._name, self._stall):
            try:
                answer = await self._session.get(self._address, headers=headers, max_redirects=REDIRECTS)
            except (aiohttp.InvalidUrlClientError, aiohttp.NonHttpUrlClientError, aiohttp.TooManyRedirects) as failure:
                raise SourceRefused(f"{self._name} leads to where nothing can be read ({failure})") from failure
        async with answer:
            self._check(answer)
            iterator = answer.content.iter_any()
            while True:
                with _source_errors(self._name, self._stall):
                    piece = await anext(iterator, b"")
                if not piece:
                    break
                self.at += len(piece)
                if self.at > self._most:
                    raise SourceRefused(
                        f"{self._name} has more than {self._most} bytes, the most that an image may have"
                    )
                yield piece
        self.ended = True

    def _check(self, answer: aiohttp.ClientResponse) -> None:
        if self.at:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if answer.status != HTTPStatus.PARTIAL_CONTENT or found is None or int(found[1]) != self.at:
                raise SourceRefused(f"{self._name} broke off after {self.at} bytes and does not go on there: try again")
            return
        if answer.status != HTTPStatus.OK:
            raise SourceRefused(f"{self._name} answers {answer.status} {answer.reason or ''}".rstrip())
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceRefused(f"{self._name} is sent compressed, which its bytes are not: fetch it to a file first")
        tag = answer.headers.get("ETag", "")
        self._tag = "" if tag.startswith("W/") else tag
        if self._told is not None:
            self._told(answer.content_length)
            self._told = None
