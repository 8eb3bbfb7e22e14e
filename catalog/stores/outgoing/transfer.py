"""A file that comes from elsewhere, or a part of it: whole, in order, of one version, whatever the line does.

A connection that breaks is followed by another that asks for the rest (`Range`, with `If-Range` for the same version).
A server that begins anew has what is here already skipped, if it names the same version. What cannot be told to be the
same file is an error: never a mixture, never an early end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import aiohttp

from blockstore import clock
from catalog.model.errors import LimitExceeded, SourceChanged, SourceLost
from catalog.stores.outgoing.answers import Version, read_answer
from catalog.stores.outgoing.pace import SLOWEST, Pace
from catalog.stores.outgoing.way import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.stores.outgoing.answers import Answer
    from catalog.stores.outgoing.way import Way

PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each next try; after the last one it is given up. They begin anew with every byte that came."""
UNKNOWN: Final = Version(None, None)


@dataclass(frozen=True, slots=True)
class Part:
    """What is wanted of a URL: the bytes from `start` up to `stop` (None: the end), of this version if one is named.

    More than `limit` bytes are refused. `headers` go along, to the URL's own host alone. `fixed`: what is at this URL
    never changes by its very meaning, so its size alone tells that it is the same.
    """

    url: str
    start: int = 0
    stop: int | None = None
    version: Version = UNKNOWN
    limit: int | None = None
    headers: Mapping[str, str] | None = None
    fixed: bool = False


class Transfer:
    """The bytes of one part, as they come; `at` is the offset of the next one. `begin` first, `close` at the end."""

    def __init__(self, way: Way, part: Part, pauses: Sequence[float] = PAUSES) -> None:
        self.at = part.start
        self.version = part.version
        self.ranges = False
        self._way = way
        self._part = part
        self._stop = part.stop
        self._pauses = pauses
        self._failed = 0
        self._response: aiohttp.ClientResponse | None = None
        self._skip = 0
        self._pace = Pace(way.waits.pace)
        # Of this answer: the offset at which it ends, None where that is not known.
        self._until: int | None = None

    @property
    def stop(self) -> int | None:
        """The offset at which all is there; None as long as nobody knows."""
        return self._stop

    async def begin(self) -> None:
        """Have the first answer. Raises AddressRefused, SourceLost (and what is below it) and LimitExceeded."""
        await self._connected()

    async def next(self) -> bytes:
        """The next bytes, b"" at the end. Raises as `begin` does."""
        while self._stop is None or self.at < self._stop:
            began = clock.monotonic()
            response = await self._connected()
            if response is None:
                break
            piece = await self._piece(response)
            self._kept_pace(clock.monotonic() - began, len(piece or b""))
            if piece is None:
                continue
            if self._skip:
                skipped = min(self._skip, len(piece))
                self._skip -= skipped
                piece = piece[skipped:]
            if self._stop is not None:
                # Nothing beyond what was said is of the file.
                piece = piece[: self._stop - self.at]
            if piece:
                self._failed = 0
                self.at += len(piece)
                self._bounded(self.at)
                return piece
        self.close()
        return b""

    def close(self) -> None:
        """Leave; may be called again."""
        if self._response is not None:
            self._response.close()
            self._response = None

    async def _piece(self, response: aiohttp.ClientResponse) -> bytes | None:
        """Bytes of this answer; None when it is over, well or not."""
        try:
            piece = await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            silent = isinstance(error, TimeoutError)
            await self._retry("the server fell silent" if silent else "the connection broke")
            return None
        if piece:
            return piece
        self.close()
        if self._until is None:
            # In chunks, and the last one was there.
            self._stop = self.at
        elif self.at < self._until:
            await self._retry("the server ended the transfer early")
        return None

    async def _connected(self) -> aiohttp.ClientResponse | None:
        """The answer that is being read; None when it turns out that nothing follows."""
        while self._response is None:
            try:
                response = await self._way.get(self._part.url, self._headers())
            except Broken as broken:
                await self._retry(str(broken), wait=min(broken.wait, self._way.waits.asked))
                continue
            try:
                answer = read_answer(response.status, response.headers)
                more = self._takes(answer, response.status)
            except BaseException:
                response.close()
                raise
            if not more:
                response.close()
                return None
            self._response = response
        return self._response

    def _headers(self) -> Mapping[str, str]:
        headers = dict(self._part.headers or {})
        if self.at == 0 and self._part.stop is None:
            return headers
        if self.at > self._part.start and self.version.validator is None and not self._part.fixed:
            raise SourceLost(
                f"The transfer broke off after {self.at - self._part.start} bytes, and the server names no version "
                "(a strong ETag or Last-Modified) by which the rest could be told to be of the same file."
            )
        last = "" if self._part.stop is None else str(self._part.stop - 1)
        headers["Range"] = f"bytes={self.at}-{last}"
        if self.version.validator is not None:
            headers["If-Range"] = self.version.validator
        return headers

    def _takes(self, answer: Answer, status: int) -> bool:
        """Make an answer this transfer's; whether anything follows in it."""
        if status == 416:
            # What came in chunks may have broken off right behind its last byte.
            if answer.version.size == self.at and self.version.size in {None, self.at}:
                self.version = Version(self.at, self.version.validator or answer.version.validator)
                self._stop = self.at
                return False
            self._changed()
        if answer.partial and answer.start != self.at:
            raise SourceLost(f"The server sends the part at {answer.start} and was asked for the one at {self.at}.")
        self._same(answer)
        self.ranges = answer.partial or self.ranges
        size = answer.version.size if answer.version.size is not None else self.version.size
        self._bounded(size if self._part.stop is None else self._part.stop)
        self.version = Version(size, self.version.validator or answer.version.validator)
        self._stop = min((end for end in (size, self._part.stop) if end is not None), default=None)
        self._skip = 0 if answer.partial else self.at
        self._until = answer.stop
        return True

    def _same(self, answer: Answer) -> None:
        """Raise SourceChanged for another version than the one that is known."""
        known, now = self.version, answer.version
        if None not in {known.size, now.size} and known.size != now.size:
            self._changed()
        if known.validator is not None and now.validator is not None and known.validator != now.validator:
            self._changed()
        # A 206 to an If-Range is of that version, by its very meaning, and need not repeat it.
        asked_for = known.validator is not None or self.at > self._part.start
        if asked_for and not answer.partial and not known.is_also(now) and not self._part.fixed:
            self._changed()

    def _changed(self) -> NoReturn:
        raise SourceChanged("The file changed while it was fetched: fetch it anew.")

    def _kept_pace(self, waited: float, came: int) -> None:
        """So many bytes came after so long. Raises SourceLost."""
        if not self._pace.is_kept(waited, came):
            self.close()
            raise SourceLost(
                f"The file was given up after {self.at} bytes: the server sends less than {SLOWEST >> 10} KiB/s."
            )

    def _bounded(self, size: int | None) -> None:
        if size is not None and self._part.limit is not None and size > self._part.limit:
            raise LimitExceeded(f"The file is larger than the {self._part.limit} bytes that are allowed.")

    async def _retry(self, why: str, *, wait: float = 0.0) -> None:
        """Pause before the next try, for `wait` seconds at least. Raises SourceLost after the last one."""
        self.close()
        if self._failed >= len(self._pauses):
            tries = "" if not self._pauses else f", {self._failed + 1} times in a row"
            came = f" after {self.at} bytes" if self.at else ""
            raise SourceLost(f"The file could not be fetched{came}: {why}{tries}.")
        pause = self._pauses[self._failed]
        self._failed += 1
        await asyncio.sleep(max(pause, wait))
