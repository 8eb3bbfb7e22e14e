"""Pulling an image: receive, hash and write overlap; a broken connection is continued where it broke."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi.client.errors import ApiError, Interrupted, Mismatch, NoData, Unreachable, passes_by_itself
from httpapi.client.hashing import new_digest, stated_hash
from httpapi.client.lane import Lane
from httpapi.client.retrying import BACKOFF_SECONDS
from httpapi.client.target import PIECE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.report import Report
    from httpapi.client.target import Target
    from httpapi.wire.images import ImageRecord

_RING: Final = 6


@dataclass(frozen=True, slots=True)
class PullResult:
    """The image's record; `verified` says whether the bytes were compared with what the server states of them.

    `unchanged` are bytes that were here already, `received` bytes that went through the network. `cloned` says how the
    file came to be where nothing had to be transferred: `reflink` or `copy`.
    """

    image: ImageRecord
    size: int
    seconds: float
    verified: bool
    unchanged: int = 0
    received: int = 0
    cloned: str | None = None


async def pull(
    api: ImagesApi, image_id: str, target: Target, report: Report, *, waits: Sequence[float] = BACKOFF_SECONDS
) -> PullResult:
    """Downloads the image to `target` and finishes it only when size and hash are right.

    Raises NoData, Mismatch, TargetRefused and whatever `api` raises; `target` is discarded then, and after an
    interruption, and `report` told what is left of it. `waits` are the seconds before each try to continue.
    """
    began = monotonic()
    finished = False
    try:
        image = await api.get_image(image_id)
        size = image.size
        if size is None or image.status in {"queued", "saving", "uploading", "importing"}:
            raise NoData(f"image {image_id} has no data yet, it is {image.status}: push some, or wait for its upload")
        report.begin(size)
        verified = await _transfer(api, image, size, target, report, waits)
        finished = True
        return PullResult(image, size, monotonic() - began, verified, received=size)
    finally:
        if not finished:
            report.note(target.discard())


async def _transfer(
    api: ImagesApi, image: ImageRecord, size: int, target: Target, report: Report, waits: Sequence[float]
) -> bool:
    stated = stated_hash(image)
    if stated is None:
        report.note("the server states no hash for this image: the bytes are not verified")
    sink = _Sink(target, report, stated[0] if stated else None)
    try:
        await sink.begin(size)
        async with aclosing(_Arrival(api, image.id, size, report, waits).pieces()) as arriving:
            async for piece in arriving:
                await sink.take(piece)
        await sink.flush()
        if stated is not None and not hmac.compare_digest(sink.hexdigest(), stated[1]):
            raise Mismatch(
                f"the bytes that arrived are not those of image {image.id} ({stated[0]} differs): pull it again; "
                "if that repeats, look for a faulty proxy, disk or memory",
            )
        await sink.finish()
    finally:
        sink.close()
    return stated is not None


@dataclass(slots=True)
class _Arrival:
    """Exactly `size` bytes of an image in order, over as many requests as it takes."""

    api: ImagesApi
    image_id: str
    size: int
    report: Report
    waits: Sequence[float]
    done: int = 0
    etag: str | None = None

    async def pieces(self) -> AsyncGenerator[memoryview, None]:
        """Goes on where a connection broke; raises its error after too many tries without a byte."""
        tries = 0
        while self.done < self.size:
            before = self.done
            try:
                async with aclosing(self._rest()) as arriving:
                    async for piece in arriving:
                        yield piece
            except (Interrupted, Unreachable, ApiError) as failure:
                tries = 0 if self.done > before else tries + 1
                if _is_final(failure, started=self.done > 0) or tries >= len(self.waits):
                    raise
                self.report.note(f"{failure}: continuing at byte {self.done}")
                await asyncio.sleep(self.waits[tries])

    async def _rest(self) -> AsyncGenerator[memoryview, None]:
        """What one request brings from `done` on; Interrupted if that is not all."""
        async with self.api.download(self.image_id, start=self.done, etag=self.etag) as data:
            if data.total not in {None, self.size} or data.start > self.done:
                raise Mismatch(
                    f"the server sends other bytes of image {self.image_id} than asked for "
                    f"(from {data.start} of {data.total}, not from {self.done} of {self.size}): pull it again",
                )
            self.etag, at = data.etag, data.start
            async with aclosing(data.pieces()) as arriving:
                async for piece in arriving:
                    # A server without ranges sends all again: what we have is skipped, the hash proves the rest.
                    new = memoryview(piece)[max(0, self.done - at) :]
                    at += len(piece)
                    if at > self.size:
                        raise Mismatch(f"the server sends more than the {self.size} bytes of image {self.image_id}")
                    self.done += len(new)
                    yield new
        if self.done < self.size:
            raise Interrupted(f"the server ended after {self.done} of {self.size} bytes")


def _is_final(failure: Interrupted | Unreachable | ApiError, *, started: bool) -> bool:
    """Whether trying again is no use: a refusal, or a server that was never reached."""
    return not passes_by_itself(failure) or (isinstance(failure, Unreachable) and not started)


class _Sink:
    """Gathers what arrives into pieces of 1 MiB, hashes them on one lane and writes them on another."""

    def __init__(self, target: Target, report: Report, algorithm: str | None) -> None:
        self._target = target
        self._report = report
        self._digest = new_digest(algorithm) if algorithm is not None else None
        self._hasher = Lane("pull-hash")
        self._writer = Lane("pull-write")
        self._buffers = [memoryview(bytearray(PIECE)) for _ in range(_RING)]
        self._busy: list[tuple[asyncio.Future[None], ...]] = [()] * _RING
        self._at = 0
        self._filled = 0
        self._offset = 0

    async def begin(self, size: int) -> None:
        """Tells the target what will come."""
        await self._writer.submit(partial(self._target.begin, size))

    async def take(self, piece: memoryview) -> None:
        """Copies `piece` away; waits when hash or disk are behind."""
        while piece:
            room = self._buffers[self._at][self._filled :]
            count = min(len(room), len(piece))
            room[:count] = piece[:count]
            piece = piece[count:]
            self._filled += count
            if self._filled == PIECE:
                await self._hand_on()
        self._report.moved(self._offset + self._filled)

    async def flush(self) -> None:
        """Everything taken is hashed and written afterwards."""
        if self._filled:
            await self._hand_on()
        for busy in self._busy:
            await asyncio.gather(*busy)

    def hexdigest(self) -> str:
        """The hash of all bytes, in lower case."""
        assert self._digest is not None
        return self._digest.hexdigest()

    async def finish(self) -> None:
        """Makes the target complete."""
        await self._writer.submit(self._target.finish)

    def close(self) -> None:
        """Ends the lanes; no write runs any more, unless it waits for somebody else."""
        self._hasher.close(wait=True)
        self._writer.close(wait=not self._target.patient)

    async def _hand_on(self) -> None:
        piece = self._buffers[self._at][: self._filled]
        jobs = [self._writer.submit(partial(self._target.write, self._offset, piece))]
        if self._digest is not None:
            jobs.append(self._hasher.submit(partial(self._digest.update, piece)))
        self._busy[self._at] = tuple(jobs)
        self._offset += self._filled
        self._filled = 0
        self._at = (self._at + 1) % _RING
        await asyncio.gather(*self._busy[self._at])
        self._busy[self._at] = ()
