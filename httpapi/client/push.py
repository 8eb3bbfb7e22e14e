"""Pushing an image: read, hash and send overlap, then what the server holds is compared with what was read."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi.client.disk_formats.first_bytes import HEAD, format_in
from httpapi.client.errors import ApiError, ClientError, EndpointRefused, Mismatch, NotFound, Unreachable
from httpapi.client.hashing import USUAL, new_digest, stated_hash
from httpapi.client.lane import Lane
from httpapi.client.push_terms import PushResult
from httpapi.client.source import PIECE, StreamSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.report import Report
    from httpapi.client.source import Source
    from httpapi.wire.images import ImageRecord

# One buffer is read into, one is being sent, the others may wait for their hash. aiohttp keeps less than
# 64 KiB of a piece when it asks for the next, so at least three keep a piece whole until it has left.
_RING: Final = 6
_CLEANUP_SECONDS: Final = 10.0
# A create whose answer was not waited for may still be at work when its image is deleted.
_UNSURE_SECONDS: Final = (0.0, 0.3, 1.0)
_WAY_OUT: Final = (
    "if it is protected, that has to be taken off first, which takes a later version of drystone, "
    "or another client where the service allows changes"
)


async def push(
    api: ImagesApi, source: Source, want: Mapping[str, object], report: Report, *, keep: bool = False
) -> PushResult:
    """Creates an image with the attributes `want`, uploads `source` to it and checks what arrived.

    The source's first piece is read before, so that one that cannot be read never becomes an image. Raises
    SourceRefused, Mismatch and whatever `api` raises. After any failure, an interruption too, the image that
    this call created is deleted again, unless `keep`.
    """
    began = monotonic()
    await api.discover()
    feed = _Feed(source, report)
    try:
        first = await feed.begin()
        if isinstance(source, StreamSource):
            _tell_of_format(source, first, report)
        image_id = await create(api, want, report, keep=keep)
        try:
            image, verified = await _send_and_check(api, image_id, feed)
        except BaseException as failure:
            if keep:
                report.note(f"image {image_id} is kept as it is")
            else:
                await take_back(api, image_id, failure, report)
            raise
    finally:
        feed.close()
    if not verified:
        report.note("the server states no hash that could be compared: the upload is not verified")
    return PushResult(image, feed.done, monotonic() - began, verified, sent=feed.done)


def _tell_of_format(source: Source, first: memoryview, report: Report) -> None:
    """Of what comes by a stream, and cannot be read as a guest would."""
    if (found := format_in(bytes(first[:HEAD]))) is not None:
        report.note(f"{source.name} is a {found}, and is kept as it is: name a file, and its guest's blocks are stored")


async def stage(api: ImagesApi, image_id: str, source: Source, report: Report) -> tuple[int, str]:
    """Sends `source` to be staged for an image that is there; how many bytes they were, and their hash, `USUAL`."""
    feed = _Feed(source, report)
    try:
        await feed.begin()
        await api.upload(image_id, feed.pieces(), feed.size, to="stage")
        await feed.hash_all()
        return feed.done, feed.digest.hexdigest()
    finally:
        feed.close()


async def create(api: ImagesApi, want: Mapping[str, object], report: Report, *, keep: bool) -> str:
    """The new image's id. Chosen here: when the answer is lost, it tells which image is to be deleted again."""
    image_id = str(want["id"] if "id" in want else uuid.uuid4())
    try:
        return (await api.create_image({**want, "id": image_id})).id
    except BaseException as failure:
        if not _may_have_created(failure):
            raise
        if keep or "id" in want:
            # An id that somebody else chose may have belonged to another image all along.
            report.note(f"image {image_id} may have been created: `drystone show {image_id}` tells")
        else:
            await take_back(api, image_id, failure, report, waits=_UNSURE_SECONDS)
        raise


def _may_have_created(failure: BaseException) -> bool:
    """Whether a create that failed may have made its image nevertheless: not if it was refused or never sent."""
    if isinstance(failure, ApiError):
        return failure.status >= 500
    return not isinstance(failure, Unreachable | EndpointRefused)


async def _send_and_check(api: ImagesApi, image_id: str, feed: _Feed) -> tuple[ImageRecord, bool]:
    """The image as the server records it, and whether its hash could be compared."""
    await api.upload(image_id, feed.pieces(), feed.size)
    await feed.hash_all()
    image = await api.get_image(image_id)
    if image.status != "active" or image.size != feed.done:
        raise Mismatch(
            f"{feed.done} bytes were sent, but the server has image {image_id} as {image.status} "
            f"with {image.size} bytes: push it again",
        )
    return image, await _verify(image, feed)


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


async def take_back(
    api: ImagesApi, image_id: str, failure: BaseException, report: Report, *, waits: Sequence[float] = (0.0,)
) -> None:
    """Deletes what this push created; a failure to do so is told, the first failure is what counts.

    `waits` are the seconds before each try, the next only if there is no such image yet.
    """
    try:
        async with asyncio.timeout(_CLEANUP_SECONDS):
            for wait in waits:
                await asyncio.sleep(wait)
                with suppress(NotFound):
                    return await api.delete_image(image_id)
    except ApiError as refused:
        if refused.status == HTTPStatus.FORBIDDEN:
            report.note(f"image {image_id} stays, the server does not let it be deleted ({refused}): {_WAY_OUT}")
        else:
            report.note(_not_deleted(image_id, failure, refused))
    except (ClientError, TimeoutError) as second:
        report.note(_not_deleted(image_id, failure, second))


def _not_deleted(image_id: str, failure: BaseException, second: Exception) -> str:
    reason = "for the same reason" if str(second) == str(failure) else str(second) or "no answer"
    return f"image {image_id} could not be deleted again ({reason}): `drystone rm {image_id}` does it later"


class _Feed:
    """A source's pieces, read ahead on one lane and hashed on another while they are sent."""

    def __init__(self, source: Source, report: Report) -> None:
        self.digest = new_digest(USUAL)
        self.done = 0
        self.size = source.size
        self._source = source
        self._report = report
        self._reader = Lane("push-read")
        self._hasher = Lane("push-hash")
        self._buffers = [memoryview(bytearray(PIECE)) for _ in range(_RING)]
        self._first: asyncio.Future[memoryview] | None = None

    async def begin(self) -> memoryview:
        """Reads the first piece, to be sent by `pieces`; raises what the source raises."""
        self._report.begin(self.size)
        self._first = self._read_into(0)
        return await self._first

    async def pieces(self) -> AsyncIterator[memoryview]:
        """Each piece is valid until the next but one is asked for."""
        hashed: list[asyncio.Future[None] | None] = [None] * _RING
        at = 0
        assert self._first is not None, "`begin` comes first"
        reading = self._first
        while piece := await reading:
            this, at = at, (at + 1) % _RING
            if (busy := hashed[at]) is not None:
                await busy
            reading = self._read_into(at)
            hashed[this] = self._hasher.submit(partial(self.digest.update, piece))
            self.done += len(piece)
            if self.done == self.size:
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

    def _read_into(self, at: int) -> asyncio.Future[memoryview]:
        return self._reader.submit(partial(self._source.read, self._buffers[at]))


def _nothing() -> None:
    """A lane does its jobs in order: when this one is done, so are all before it."""
