"""An image's bytes on their way: out as the body of a PUT, in as the body of a GET."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from httpapi.client.errors import Interrupted
from httpapi.client.unpacking import STORED, unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from contextlib import AbstractContextManager

    import aiohttp

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")


class Outgoing:
    """The body of an upload: watches that the network takes it, and keeps the error that the source raised.

    The watch counts only while a piece is with the network (`stall_seconds`) or the server has them all
    (`answer_seconds`); a source that is slow, a pipe say, may take its time.
    """

    def __init__(self, source: AsyncIterator[memoryview], *, stall_seconds: float, answer_seconds: float) -> None:
        self.failure: Exception | None = None
        self._source = source
        self._stall = stall_seconds
        self._answer = answer_seconds
        self._watch = asyncio.timeout(stall_seconds)
        self._watching = False

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Around the request; raises Interrupted when the network or the server takes too long."""
        try:
            async with self._watch:
                self._watching = True
                try:
                    yield
                finally:
                    self._watching = False
        except TimeoutError as failure:
            raise Interrupted(
                f"the server took no data, or gave no answer, for {self._stall:g} s or more: it or the network stalls",
            ) from failure

    async def pieces(self) -> AsyncIterator[memoryview]:
        """The source's pieces, for aiohttp."""
        try:
            self._allow(None)
            async for piece in self._source:
                self._allow(self._stall)
                yield piece
                self._allow(None)
            self._allow(self._answer)
        except Exception as failure:
            self.failure = failure
            raise

    def _allow(self, seconds: float | None) -> None:
        if self._watching and not self._watch.expired():
            self._watch.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)


@dataclass(frozen=True, slots=True)
class Incoming:
    """The body of a download: begins at byte `start` of the image, which has `total` bytes (None: not told)."""

    start: int
    total: int | None
    etag: str | None
    _response: aiohttp.ClientResponse
    _network: Callable[[], AbstractContextManager[None]]

    @classmethod
    def from_response(
        cls, response: aiohttp.ClientResponse, network: Callable[[], AbstractContextManager[None]]
    ) -> Self:
        """Reads the headers of a 200 or a 206; `network` turns the errors of reading on into ours."""
        start, total = 0, None if response.content_type == STORED else response.content_length
        if response.status == 206:
            told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if told is None:
                raise Interrupted("the server sends a part of the image without saying which")
            start, total = int(told[1]), None if told[2] == "*" else int(told[2])
        return cls(start, total, response.headers.get("ETag"), response, network)

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """The image's bytes as they arrive, in pieces of no certain size; Interrupted if they stop too early."""
        arriving = self._arriving()
        return unpacked(arriving) if self._response.content_type == STORED else arriving

    async def _arriving(self) -> AsyncGenerator[bytes, None]:
        arriving = self._response.content.iter_any()
        while True:
            # Only the wait for the network: what the caller does with a piece has errors of its own.
            with self._network():
                piece = await anext(arriving, b"")
            if not piece:
                return
            yield piece
