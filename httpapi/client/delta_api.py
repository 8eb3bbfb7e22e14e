"""The routes of delta sync as coroutines; `httpapi/DELTA.md` is the contract. One method an operation, no retries."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiohttp

from httpapi.client.answers import following, read_json
from httpapi.client.api import ANSWER_SECONDS, CONNECT_SECONDS, STALL_SECONDS
from httpapi.client.errors import ApiError, Interrupted, NoData, NotAnImageService, is_no_route
from httpapi.client.record import read_record
from httpapi.client.streams import Outgoing
from httpapi.wire.block_stream import MEDIA_TYPE
from httpapi.wire.changes import parse_extents
from httpapi.wire.deltas import MANIFEST_HEADER, MANIFEST_TYPE, DeltaRecord, NewDelta, parse_delta
from httpapi.wire.errors import BadRequest
from httpapi.wire.number_ranges import parse_ranges, ranges_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from blockstore.sent_blocks import NumberRange
    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord

_PIECE: Final = 1 << 20
_LARGEST_MANIFEST: Final = 1 << 32
NO_BLOCKS: Final = "no-blocks"
"""The documented name of the refusal to tell of blocks that the server does not have."""


@dataclass(frozen=True, slots=True)
class DeltaApi:
    """What a service with delta sync can do beyond the Images API; raises what `api` raises."""

    api: ImagesApi

    async def manifest(self, image_id: str, descriptor: int) -> bytes | None:
        """Writes the image's flat manifest to an empty open file; its digest.

        None from a server without such a route, and of an image that lies in other places than the server's blocks.

        The bytes are checked by whoever opens them. NoData while the image has none.
        """
        # Named alone: the summary is what other types are answered with.
        headers = {"Accept": MANIFEST_TYPE}
        try:
            async with self.api.request("GET", f"{_path(image_id)}/manifest", headers=headers) as response:
                if response.status == HTTPStatus.NO_CONTENT:
                    raise NoData(f"image {image_id} has no data yet: push some, or wait until its upload is complete")
                name = _digest(response.headers.get(MANIFEST_HEADER))
                at = 0
                arriving = response.content.iter_any()
                while True:
                    with self.api.network():
                        piece = await anext(arriving, b"")
                    if not piece:
                        return name
                    if at + len(piece) > _LARGEST_MANIFEST:
                        raise NotAnImageService("the server sends a manifest that is larger than any: it errs")
                    os.pwrite(descriptor, piece, at)
                    at += len(piece)
        except ApiError as failure:
            if is_no_route(failure) or failure.code == NO_BLOCKS:
                return None
            raise

    async def manifest_digest(self, image_id: str) -> bytes:
        """The digest of the image's flat manifest."""
        document = _object(await self.api.ask("GET", f"{_path(image_id)}/manifest"))
        return _digest(document.get("manifest"))

    @asynccontextmanager
    async def blocks(self, image_id: str, wanted: Sequence[NumberRange]) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """A stream of these blocks as it arrives."""
        body = {"blocks": ranges_json(wanted)}
        async with self.api.request("POST", f"{_path(image_id)}/blocks", json=body) as response:
            if response.content_type != MEDIA_TYPE:
                raise NotAnImageService(f"asked for blocks, the server answers with {response.content_type}: it errs")

            async def arriving() -> AsyncGenerator[bytes, None]:
                pieces = response.content.iter_any()
                while True:
                    with self.api.network():
                        piece = await anext(pieces, b"")
                    if not piece:
                        return
                    yield piece

            yield arriving()

    async def changes(self, image_id: str, since: str) -> AsyncIterator[tuple[int, int, bool]]:
        """(offset, length, zero) of what differs in the image from `since`, ascending; neighbours may touch."""
        query = f"since={quote(since, safe='')}"
        while query:
            page = _object(await self.api.ask("GET", f"{_path(image_id)}/changes?{query}"))
            try:
                found = parse_extents(page)
            except (KeyError, TypeError, ValueError) as failure:
                raise NotAnImageService("the answer is no list of changes: check --endpoint") from failure
            for extent in found:
                yield extent
            query = following(page.get("next"), query)

    async def begin(self, image_id: str, new: NewDelta) -> DeltaRecord:
        """The new upload; the image is `saving` then."""
        return _read_delta(_object(await self._document("POST", f"{_path(image_id)}/deltas", new.to_json())))

    async def under_way(self, image_id: str) -> DeltaRecord | None:
        """The image's upload, if there is one."""
        found = _object(await self.api.ask("GET", f"{_path(image_id)}/deltas")).get("deltas")
        if not isinstance(found, list):
            raise _no_delta()
        return _read_delta(_object(found[0])) if found else None

    async def arrived(self, delta: DeltaRecord) -> AsyncIterator[NumberRange]:
        """The numbers that have arrived, ascending."""
        blocks = -(-delta.size // delta.block_size)
        query = "from=0"
        while query:
            page = _object(await self.api.ask("GET", f"{_upload(delta)}?{query}"))
            try:
                ranges = parse_ranges(page.get("arrived"), blocks=blocks)
            except BadRequest as failure:
                raise _no_delta() from failure
            for each in ranges:
                yield each
            query = following(page.get("next"), query)

    async def send(self, delta: DeltaRecord, stream: bytes) -> None:
        """Sends a stream of blocks; all of it is durable when this returns."""

        async def pieces() -> AsyncIterator[memoryview]:
            view = memoryview(stream)
            for at in range(0, len(view), _PIECE):
                yield view[at : at + _PIECE]

        body = Outgoing(pieces(), stall_seconds=STALL_SECONDS, answer_seconds=ANSWER_SECONDS)
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(stream))}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        path = f"{_upload(delta)}/blocks"
        async with (
            body.watch(),
            self.api.request("PUT", path, data=body.pieces(), headers=headers, timeout=timeout),
        ):
            pass

    async def commit(self, delta: DeltaRecord, blocks: int) -> ImageRecord:
        """Makes the image; `blocks` is how many have arrived as far as the caller knows."""
        path = f"{_upload(delta)}/commit"
        return read_record(await self._document("POST", path, {"blocks": blocks}, stall_seconds=ANSWER_SECONDS))

    async def give_up(self, delta: DeltaRecord) -> None:
        """Ends the upload; its image is queued again."""
        async with self.api.request("DELETE", _upload(delta)):
            pass

    async def _document(
        self, method: str, path: str, body: dict[str, object], *, stall_seconds: float = STALL_SECONDS
    ) -> object:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=stall_seconds)
        async with self.api.request(method, path, json=body, timeout=limits) as response:
            with self.api.network():
                return await read_json(response)


def _path(image_id: str) -> str:
    return f"/images/{quote(image_id, safe='')}"


def _upload(delta: DeltaRecord) -> str:
    return f"{_path(delta.image)}/deltas/{quote(delta.id, safe='')}"


def _object(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise NotAnImageService("the answer is no JSON object: check --endpoint")
    return document


def _read_delta(document: dict[str, object]) -> DeltaRecord:
    try:
        found = parse_delta(document)
    except (KeyError, TypeError) as failure:
        raise _no_delta() from failure
    if found.size < 0 or found.block_size < 1 or found.request_bytes < 1 or found.request_blocks < 1:
        raise _no_delta()
    return found


def _no_delta() -> NotAnImageService:
    return NotAnImageService("the answer is no delta upload: check --endpoint")


def _digest(text: object) -> bytes:
    try:
        name = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        name = b""
    if len(name) != 32:
        raise Interrupted("the server sends a manifest without saying its digest")
    return name
