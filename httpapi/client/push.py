"""Pushing an image: read, hash and send overlap, then what the server holds is compared with what was read."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi.client.errors import ClientError, Mismatch, NotFound
from httpapi.client.hashing import USUAL, new_digest, stated_hash
from httpapi.client.lane import Lane
from httpapi.client.source import PIECE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from httpapi.client.api import ImagesApi
    from httpapi.client.report import Report
    from httpapi.client.source import Source
    from httpapi.wire.images import ImageRecord

# One buffer is read into, one is being sent, the others may wait for their hash. aiohttp keeps less than
# 64 KiB of a piece when it asks for the next, so at least three keep a piece whole until it has left.
_RING: Final = 6
_CLEANUP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class PushResult:
    """The image as the server records it; `verified` says whether its hash was compared with the source's."""

    image: ImageRecord
    size: int
    seconds: float
    verified: bool


async def push(
    api: ImagesApi, source: Source, want: Mapping[str, object], report: Report, *, keep: bool = False
) -> PushResult:
    """Creates an image with the attributes `want`, uploads `source` to it and checks what arrived.

    Raises SourceRefused, Mismatch and whatever `api` raises. After any failure, an interruption too, the image
    that this call created is deleted again, unless `keep`.
    """
    began = monotonic()
    report.begin(source.size)
    image = await api.create_image(want)
    try:
        size, verified = await _send_and_check(api, image.id, source, report)
        if not verified:
            report.note("the server states no hash that could be compared: the upload is not verified")
        return PushResult(await api.get_image(image.id), size, monotonic() - began, verified)
    except BaseException as failure:
        if keep:
            report.note(f"image {image.id} is kept as it is")
        else:
            await _take_back(api, image.id, failure, report)
        raise


async def _send_and_check(api: ImagesApi, image_id: str, source: Source, report: Report) -> tuple[int, bool]:
    feed = _Feed(source, report)
    try:
        await api.upload(image_id, feed.pieces(), source.size)
        await feed.hash_all()
        image = await api.get_image(image_id)
        if image.status != "active" or image.size != feed.done:
            raise Mismatch(
                f"{feed.done} bytes were sent, but the server has image {image_id} as {image.status} "
                f"with {image.size} bytes: push it again",
            )
        return feed.done, await _verify(image, feed)
    finally:
        feed.close()


async def _verify(image: ImageRecord, feed: _Feed) -> bool:
    """Whether the hash could be compared; Mismatch if it differs."""
    stated = stated_hash(image)
    if stated is None:
        return False
    algorithm, value = stated
    found = feed.digest.hexdigest() if algorithm == USUAL else await feed.hash_again(algorithm)
    if found is None:
        return False
    if not hmac.compare_digest(found, value):
        raise Mismatch(
            f"the server holds other bytes than were sent ({algorithm} differs): push it again; "
            "if that repeats, look for a faulty proxy, disk or memory",
        )
    return True


async def _take_back(api: ImagesApi, image_id: str, failure: BaseException, report: Report) -> None:
    """Deletes what this push created; a failure to do so is told, the first failure is what counts."""
    try:
        async with asyncio.timeout(_CLEANUP_SECONDS):
            await api.delete_image(image_id)
    except NotFound:
        return
    except (ClientError, TimeoutError) as second:
        reason = "for the same reason" if str(second) == str(failure) else str(second) or "no answer"
        report.note(f"image {image_id} could not be deleted again ({reason}): `drystone rm {image_id}` does it later")


class _Feed:
    """A source's pieces, read ahead on one lane and hashed on another while they are sent."""

    def __init__(self, source: Source, report: Report) -> None:
        self.digest = new_digest(USUAL)
        self.done = 0
        self._source = source
        self._report = report
        self._reader = Lane("push-read")
        self._hasher = Lane("push-hash")

    async def pieces(self) -> AsyncIterator[memoryview]:
        """Each piece is valid until the next but one is asked for."""
        buffers = [memoryview(bytearray(PIECE)) for _ in range(_RING)]
        hashed: list[asyncio.Future[None] | None] = [None] * _RING
        at = 0
        reading = self._reader.submit(partial(self._source.read, buffers[at]))
        while piece := await reading:
            this, at = at, (at + 1) % _RING
            if (busy := hashed[at]) is not None:
                await busy
            reading = self._reader.submit(partial(self._source.read, buffers[at]))
            hashed[this] = self._hasher.submit(partial(self.digest.update, piece))
            self.done += len(piece)
            if self.done == self._source.size:
                # Once the server has them all it answers: a source that holds more must be found out before.
                await reading
            yield piece
            self._report.moved(self.done)

    async def hash_all(self) -> None:
        """Every piece that was sent is in the digest afterwards; the server's answer may come before."""
        await self._hasher.submit(_nothing)

    async def hash_again(self, algorithm: str) -> str | None:
        """The source read once more for a server that states another hash; None for a stream."""
        source = self._source.again()
        if source is None:
            return None
        digest, buffer = new_digest(algorithm), memoryview(bytearray(PIECE))
        try:
            while piece := await self._reader.submit(partial(source.read, buffer)):
                await self._hasher.submit(partial(digest.update, piece))
        finally:
            source.close()
        return digest.hexdigest()

    def close(self) -> None:
        """Ends the lanes; the source is read no more afterwards."""
        self._source.stop()
        self._reader.close(wait=True)
        self._hasher.close(wait=True)


def _nothing() -> None:
    """A lane does its jobs in order: when this one is done, so are all before it."""
