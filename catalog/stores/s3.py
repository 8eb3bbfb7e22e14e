"""The store `s3`: each copy is one object of a bucket, flat, that any S3 client can read.

obstore carries the bytes. A copy of more than one part is a multipart upload, which becomes an object at once and as a
whole when it is completed. A writer that is killed leaves its upload, which no reader sees and which costs room: it is
found by its key, and aborted by `remove` and by the next write of that URL.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from blockstore import clock
from catalog.blocking import to_its_end
from catalog.model.errors import CatalogError, CopyLost, StoreDown, StoreFull
from catalog.stores.outgoing.configured import ConfiguredClient, NoAnswer
from catalog.stores.read_ahead import read_ahead
from catalog.stores.s3_bucket import opened
from catalog.stores.s3_requests import BucketRequests, error_code
from catalog.stores.source_pieces import pieces_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from catalog.store_ports import CopyReader, StoreInfo
    from catalog.stores.memory_budget import FarMemory
    from catalog.stores.s3_bucket import Bucket

T = TypeVar("T")
MIB: Final = 1 << 20
PART: Final = 8 * MIB
"""The usual part of an upload; S3 wants 5 MiB at least."""
MOST_PARTS: Final = 10_000
AT_ONCE: Final = 2
"""Parts under way at once."""
SLOWEST: Final = MIB
"""Bytes a second that a server takes at least: what a part's time is measured by."""
_CHUNK: Final = 256 * 1024
_FULL: Final = frozenset(
    {"InsufficientCapacity", "QuotaExceeded", "ServiceQuotaExceeded", "StorageFull", "XMinioStorageFull"}
)
_REFUSED: Final = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
)
# What obstore's errors quote of an answer; nothing else of them is told, for they quote requests, too.
_STATUS: Final = re.compile(r"non-2xx status code: ([0-9]{3})")


def part_size(size: int) -> int:
    """How long the parts of a copy of this size are: so many MiB that S3's limit of parts is kept."""
    return max(PART, -(-size // (MOST_PARTS * MIB)) * MIB)


class S3Copies:
    """`catalog.store_ports.Store` over one bucket. `patience`: seconds that the server may be silent."""

    def __init__(
        self,
        info: StoreInfo,
        bucket: Bucket,
        memory: FarMemory,
        *,
        patience: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        told = {"bucket": bucket.name, "endpoint": bucket.endpoint, "region": bucket.region, "prefix": bucket.prefix}
        self.info = replace(info, properties=told)
        self._root = f"s3://{bucket.name}/{bucket.prefix}"
        self._own = re.compile(rf"{re.escape(self._root)}[A-Za-z0-9._~-]+", re.ASCII)
        self._prefix = bucket.prefix
        self._memory = memory
        self._patience = patience
        self._client = ConfiguredClient(patience, tls=tls)
        self._requests = BucketRequests(bucket.url, bucket.region, bucket.keys, self._client)
        self._objects = opened(bucket, patience)

    def owns(self, url: str) -> bool:
        """Whether it is in the bucket, below the prefix."""
        return self._own.fullmatch(url) is not None

    def place(self, image_id: str) -> str:
        """`s3://BUCKET/PREFIX<image>-<random>`."""
        return f"{self._root}{image_id}-{secrets.token_hex(8)}"

    async def open(self, url: str, size: int | None) -> CopyReader:
        """Ask for the object's length, and keep to this version of it."""
        key = self._key(url)
        found = await self._asked(obstore.head_async(self._objects, key), self._patience)
        if size is not None and found["size"] != size:
            raise CopyLost(f"Store {self.info.name} has {found['size']} bytes at {url}, and not {size}.")
        return _Reader(found["size"], partial(self._fetch, key, found["size"], found["e_tag"]), self._memory)

    async def write(self, url: str, source: CopyReader) -> None:
        """Send the bytes in parts, one being filled while others are under way."""
        key, part = self._key(url), part_size(source.size)
        async with self._memory.writes.held(min(source.size + 1, (AT_ONCE + 1) * part)):
            # What a killed writer left goes first; and a server that is silent has said so before any byte is sent.
            await self._abort_uploads(key)
            try:
                await self._send(key, part, source)
            except BaseException:
                # Bounded, and to its end: a request that was under way may have made an object.
                await to_its_end(self._cleaned(key))
                raise

    async def remove(self, url: str) -> None:
        """Delete the object, and abort what writing it left."""
        key = self._key(url)
        await self._abort_uploads(key)
        try:
            await self._asked(obstore.delete_async(self._objects, key), self._patience)
        except CopyLost:
            return

    async def check(self) -> None:
        """Look into the bucket: whether it is there, and lets these keys in."""
        try:
            reply = await self._requests.look(self._prefix)
        except NoAnswer as error:
            raise self._down(str(error)) from None
        if reply.status != 200:
            raise self._refusal(reply.status, error_code(reply.body))

    def path(self, url: str) -> str | None:
        """None: it is far away."""
        return None

    async def close(self) -> None:
        """Let connections go."""
        await self._client.close()

    def _key(self, url: str) -> str:
        if not self.owns(url):
            raise CopyLost(f"{url} is nothing that store {self.info.name} has.")
        return url.removeprefix(self._root.removesuffix(self._prefix))

    async def _fetch(self, key: str, size: int, tag: str | None, start: int, stop: int) -> Sequence[memoryview]:
        """All bytes of a range; asked for once more where they break off, not where nothing came in time."""
        until = clock.monotonic() + self._patience
        try:
            return await self._fetch_once(key, size, tag, start, stop)
        except StoreDown:
            if clock.monotonic() >= until:
                raise
            return await self._fetch_once(key, size, tag, start, stop)

    async def _fetch_once(self, key: str, size: int, tag: str | None, start: int, stop: int) -> Sequence[memoryview]:
        asked = obstore.get_async(self._objects, key, options={"range": (start, stop)})
        answer = await self._asked(asked, self._patience)
        if (answer.meta["size"], answer.meta["e_tag"]) != (size, tag):
            raise CopyLost(f"Store {self.info.name} has another object now at {key}.")
        parts: list[memoryview] = []
        stream = aiter(answer.stream(min_chunk_size=_CHUNK))
        while (chunk := await self._asked(anext(stream, None), self._patience)) is not None:
            parts.append(memoryview(chunk))
        if sum(map(len, parts)) != stop - start:
            raise self._down("it sent less than it had said")
        return parts

    async def _send(self, key: str, part: int, source: CopyReader) -> None:
        limit = self._patience + min(part, source.size) / SLOWEST
        writer = obstore.open_writer_async(self._objects, key, buffer_size=part, max_concurrency=AT_ONCE)
        async with pieces_of(source, 0, source.size) as pieces:
            async for piece in pieces:
                if len(piece):
                    # A copy: obstore keeps what it is given until the part was sent, longer than the piece is valid.
                    await self._asked(writer.write(bytes(piece)), limit)
        # A server may put parts together only now.
        await to_its_end(self._asked(writer.close(), AT_ONCE * limit))
        kept = (await self._asked(obstore.head_async(self._objects, key), self._patience))["size"]
        if kept != source.size:
            raise self._down(f"it kept {kept} of {source.size} bytes")

    async def _cleaned(self, key: str) -> None:
        """Take back what a failed write left, if the server can be asked; `remove` will, later."""
        try:
            async with asyncio.timeout(self._patience):
                await self._asked(obstore.delete_async(self._objects, key), self._patience)
                await self._abort_uploads(key)
        except (CatalogError, TimeoutError):
            return

    async def _abort_uploads(self, key: str) -> None:
        try:
            while True:
                reply, uploads = await self._requests.uploads(key)
                if reply.status in {405, 501}:
                    # A server that lists none: its own rule must end them, as README says.
                    return
                if reply.status != 200:
                    raise self._refusal(reply.status, error_code(reply.body))
                if not uploads:
                    return
                for upload in uploads:
                    reply = await self._requests.abort(upload)
                    if reply.status not in {200, 204, 404}:
                        raise self._refusal(reply.status, error_code(reply.body))
        except NoAnswer as error:
            raise self._down(str(error)) from None

    async def _asked(self, request: Awaitable[T], seconds: float) -> T:
        """What obstore answers, within so many seconds; its errors as ours."""
        try:
            async with asyncio.timeout(seconds):
                return await request
        except TimeoutError:
            raise self._down("it does not answer in time") from None
        except FileNotFoundError:
            # A bucket that is gone says the same, and then no copy is lost.
            await self.check()
            raise CopyLost(f"Store {self.info.name} does not have this copy any more.") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise self._refusal(403, error_code(str(error).encode())) from None
        except (BaseError, OSError) as error:
            said = str(error)
            status = _STATUS.search(said)
            raise self._refusal(int(status[1]) if status else 0, error_code(said.encode())) from None

    def _refusal(self, status: int, code: str) -> StoreDown | StoreFull:
        """What a failed answer is: `code` is S3's own word for it."""
        if code in _FULL or status in {413, 507}:
            return StoreFull(f"Store {self.info.name} is full ({code or status}); nothing of the copy was kept.")
        if code == "NoSuchBucket" or (status == 404 and not code):
            return self._down("its bucket is not there: make it, or correct `bucket`")
        if code in _REFUSED or status in {401, 403}:
            return self._down(
                f"its credentials are refused ({code or status}): they must be right, and allow to list the bucket "
                "and its uploads, to read, write and delete"
            )
        if status:
            return self._down(f"it answers {status} {code}".rstrip())
        return self._down("it cannot be reached, or broke off")

    def _down(self, reason: str) -> StoreDown:
        return StoreDown(f"Store {self.info.name} is down: {reason}.")


class _Reader:
    """`catalog.store_ports.CopyReader` over one object."""

    def __init__(
        self, size: int, fetch: Callable[[int, int], Awaitable[Sequence[memoryview]]], memory: FarMemory
    ) -> None:
        self.size = size
        self._fetch = fetch
        self._memory = memory

    def read(self, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        """Ranges, some ahead."""
        return read_ahead(self._fetch, start, stop, self._memory.reads)

    def close(self) -> None:
        """Nothing is held between reads."""
