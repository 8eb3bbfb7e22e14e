"""The store `swift`: each copy is one object of a container, a large one a static large object over segments.

The manifest of a large object is put when all its segments are there, so a copy is whole or not there. A writer that is
killed leaves segments that nobody sees: their names begin with the object's and count up from zero, so `remove` finds
them, also those that a listing does not show yet.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from catalog.blocking import to_its_end
from catalog.model.errors import CatalogError, CopyLost, StoreDown, StoreFull
from catalog.stores.outgoing.configured import NoAnswer, Silent
from catalog.stores.source_pieces import pieces_of
from catalog.stores.swift_account import FULL, PAUSE, TRIES, SwiftAccount, may_pass
from catalog.stores.swift_login import LoginRefused

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

    from catalog.store_ports import CopyReader, StoreInfo
    from catalog.stores.outgoing.configured import Reply
    from catalog.stores.swift_login import Login

MIB: Final = 1 << 20
MOST_SEGMENTS: Final = 1000
"""What Swift allows in one manifest unless it is told otherwise."""
_AT_ONCE: Final = 8
"""Segments that are deleted at once."""


class SwiftCopies:
    """`catalog.store_ports.Store` over one container, and `<container>_segments`, which is made when it is needed.

    `patience`: seconds that the server may be silent. What is longer than `segment_size` bytes is cut into segments.
    """

    def __init__(
        self,
        info: StoreInfo,
        container: str,
        login: Login,
        *,
        segment_size: int = 256 * MIB,
        patience: float = 10.0,
        told: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.info = replace(info, properties={"container": container, "segment_size": segment_size, **(told or {})})
        self._root = f"swift://{info.name}/{quote(container)}/"
        self._own = re.compile(rf"{re.escape(self._root)}[A-Za-z0-9._~-]+", re.ASCII)
        self._container = f"/{quote(container)}"
        self._segments = f"/{quote(container + '_segments')}"
        self._segment_container = container + "_segments"
        self._segment_size = segment_size
        self._patience = patience
        self.account = SwiftAccount(login, patience, tls=tls)

    def owns(self, url: str) -> bool:
        """Whether it is in the container."""
        return self._own.fullmatch(url) is not None

    def place(self, image_id: str) -> str:
        """`swift://STORE/CONTAINER/<image>-<random>`."""
        return f"{self._root}{image_id}-{secrets.token_hex(8)}"

    async def open(self, url: str, size: int | None) -> CopyReader:
        """Ask for the object's length, and keep to this version of it."""
        path = self._path(url)
        reply = await self._ask("HEAD", path, 404)
        if reply.status == 404:
            raise await self.gone()
        found, etag = reply.headers.get("Content-Length", ""), reply.headers.get("Etag", "")
        if not found.isdigit():
            raise self.down("it does not say how long an object is")
        if size is not None and int(found) != size:
            raise CopyLost(f"Store {self.info.name} has {found} bytes at {url}, and not {size}.")
        return _Reader(self, path, int(found), etag)

    async def write(self, url: str, source: CopyReader) -> None:
        """Send the bytes as they come; what is long in segments, and then their manifest."""
        path = self._path(url)
        # What a killed writer left goes first; and a server that is silent has said so before any byte is sent.
        await self.remove(url)
        try:
            await self._send(path, source)
            (await self.open(url, source.size)).close()
        except BaseException:
            # Bounded, and to its end: a request that was under way may have made an object.
            await to_its_end(self._cleaned(url))
            raise

    async def remove(self, url: str) -> None:
        """Delete the object, then its segments, those listed and those that follow on them."""
        name = self._path(url).rpartition("/")[2]
        await self._ask("DELETE", f"{self._container}/{name}", 404)
        last = await self._last_listed(name)
        for first in range(0, last + 1, _AT_ONCE):
            numbers = range(first, min(last + 1, first + _AT_ONCE))
            await asyncio.gather(*(self._ask("DELETE", self._segment(name, number), 404) for number in numbers))
        while (await self._ask("DELETE", self._segment(name, last + 1), 404)).status != 404:
            last += 1

    async def check(self) -> None:
        """Ask for the container: whether it is there, and lets this user in."""
        if (await self._ask("HEAD", self._container, 404)).status == 404:
            raise self._no_container()

    def path(self, url: str) -> str | None:
        """None: it is far away."""
        return None

    async def close(self) -> None:
        """Let connections go."""
        await self.account.close()

    def down(self, reason: str) -> StoreDown:
        """What to raise when the store cannot be used."""
        return StoreDown(f"Store {self.info.name} is down: {reason}.")

    async def gone(self) -> CopyLost:
        """What to raise for an object that is not there; StoreDown where the whole container is not."""
        await self.check()
        return CopyLost(f"Store {self.info.name} does not have this copy any more.")

    def refusal(self, status: int) -> StoreDown | StoreFull:
        """What a failed answer is."""
        if status in {413, FULL}:
            return StoreFull(
                f"Store {self.info.name} is full, or its quota is used up ({status}); nothing of the copy was kept."
            )
        if status in {401, 403}:
            return self.down(
                f"its credentials are refused ({status}): they must be right, and allow to read, write, list and "
                "delete in the container and in that of its segments"
            )
        return self._no_container() if status == 404 else self.down(f"it answers {status}")

    def _path(self, url: str) -> str:
        if not self.owns(url):
            raise CopyLost(f"{url} is nothing that store {self.info.name} has.")
        return f"{self._container}/{url.removeprefix(self._root)}"

    def _segment(self, name: str, number: int) -> str:
        return f"{self._segments}/{name}/{number:08}"

    async def _last_listed(self, name: str) -> int:
        """The highest number of a segment that the container lists; -1: none."""
        told = f"?format=json&limit=1&reverse=on&prefix={name}/"
        reply = await self._ask("GET", f"{self._segments}{told}", 404)
        try:
            listed = json.loads(reply.body) if reply.status == 200 else []
            return int(listed[0]["name"].rpartition("/")[2]) if listed else -1
        except (ValueError, LookupError, TypeError):
            raise self.down("its listing cannot be read") from None

    async def _send(self, path: str, source: CopyReader) -> None:
        size = source.size
        if size <= self._segment_size:
            await self._put(path, source, 0, size)
            return
        await self._ask("PUT", self._segments)
        name = path.rpartition("/")[2]
        longest = max(self._segment_size, -(-size // (MOST_SEGMENTS * MIB)) * MIB)
        segments: list[Mapping[str, object]] = []
        for number, start in enumerate(range(0, size, longest)):
            stop = min(size, start + longest)
            etag = await self._put(self._segment(name, number), source, start, stop)
            there = f"/{self._segment_container}/{name}/{number:08}"
            segments.append({"path": there, "etag": etag, "size_bytes": stop - start})
        # It looks at each segment before it answers.
        seconds = self._patience + len(segments) / 10
        await self._ask("PUT", f"{path}?multipart-manifest=put", body=json.dumps(segments).encode(), seconds=seconds)

    async def _put(self, path: str, source: CopyReader, start: int, stop: int) -> str:
        """Send a range of the source as one object, again from its start where that fails; gives its MD5."""
        for number in range(1, TRIES + 1):
            hashing = _Hashing(source, start, stop)
            told = {"Content-Length": str(stop - start), "Content-Type": "application/octet-stream"}
            try:
                async with aclosing(hashing.pieces()) as body:
                    reply = await self.account.put(path, told, body, seconds=2 * self._patience)
            except LoginRefused as error:
                raise self.down(str(error)) from None
            except NoAnswer as error:
                if number == TRIES or isinstance(error, Silent):
                    raise self.down(str(error)) from None
            else:
                if reply.status == 201 and reply.headers.get("Etag", "").strip('"') == hashing.md5:
                    return hashing.md5
                if number == TRIES or not (reply.status in {201, 401} or may_pass(reply.status)):
                    raise self.down("it kept other bytes") if reply.status == 201 else self.refusal(reply.status)
            await asyncio.sleep(PAUSE * number)
        raise AssertionError

    async def _cleaned(self, url: str) -> None:
        """Take back what a failed write left, if the server can be asked; `remove` will, later."""
        try:
            async with asyncio.timeout(self._patience):
                await self.remove(url)
        except (CatalogError, TimeoutError):
            return

    async def _ask(self, method: str, path: str, *also: int, body: bytes = b"", seconds: float | None = None) -> Reply:
        """An answer that is fine, or one of `also`."""
        try:
            reply = await self.account.ask(method, path, body=body, seconds=seconds)
        except (NoAnswer, LoginRefused) as error:
            raise self.down(str(error)) from None
        if reply.status in {200, 201, 202, 204, *also}:
            return reply
        raise self.refusal(reply.status)

    def _no_container(self) -> StoreDown:
        return self.down("its container is not there: make it, or correct `container`")


class _Hashing:
    """A range of a source, and the MD5 of what was sent of it."""

    def __init__(self, source: CopyReader, start: int, stop: int) -> None:
        self._source, self._start, self._stop = source, start, stop
        self._hash = hashlib.md5(usedforsecurity=False)

    @property
    def md5(self) -> str:
        return self._hash.hexdigest()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes; each piece is hashed on a thread, while nothing else is read."""
        async with pieces_of(self._source, self._start, self._stop) as pieces:
            async for piece in pieces:
                sent = bytes(piece)
                await to_its_end(asyncio.to_thread(self._hash.update, sent))
                yield sent


class _Reader:
    """`catalog.store_ports.CopyReader` over one object: a connection a read, taken up where it breaks off."""

    def __init__(self, store: SwiftCopies, path: str, size: int, etag: str) -> None:
        self.size = size
        self._store = store
        self._path = path
        self._etag = etag

    async def read(self, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        """The bytes, with up to three tries wherever they do not go on."""
        at, failed = start, 0
        while at < stop:
            try:
                async with aclosing(self._once(at, stop)) as pieces:
                    async for piece in pieces:
                        yield piece
                        at, failed = at + len(piece), 0
            except LoginRefused as error:
                raise self._store.down(str(error)) from None
            except NoAnswer as error:
                failed += 1
                if failed == TRIES or isinstance(error, Silent):
                    raise self._store.down(str(error)) from None
                await asyncio.sleep(PAUSE * failed)

    async def _once(self, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        async with self._store.account.get(self._path, {"Range": f"bytes={start}-{stop - 1}"}) as answer:
            if answer.status == 404:
                raise await self._store.gone()
            if may_pass(answer.status) or answer.status == 409:
                # 409: a segment cannot be had just now.
                raise NoAnswer(f"it answers {answer.status}")
            if answer.status not in {200, 206, 416}:
                raise self._store.refusal(answer.status)
            told = (answer.headers.get("Etag"), answer.headers.get("Content-Range"))
            if told != (self._etag, f"bytes {start}-{stop - 1}/{self.size}"):
                raise CopyLost(f"Store {self._store.info.name} has another object now in the place of this copy.")
            left = stop - start
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    if len(piece) > left:
                        raise NoAnswer("it sends more than it had said")
                    left -= len(piece)
                    yield piece
            if left:
                raise NoAnswer("it sent less than it had said")

    def close(self) -> None:
        """Nothing is held between reads."""
