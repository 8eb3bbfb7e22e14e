"""A small Images API v2 server in memory, on a thread of its own, that can be told to misbehave.

It is for the client's tests: each fault is something that networks, proxies or broken servers really do.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass
class Faults:
    """What goes wrong, and for how many requests yet."""

    cut_downloads: int = 0  # so many downloads break after `cut_after` bytes
    cut_after: int = 0
    stall_downloads: bool = False  # send `cut_after` bytes, then nothing
    no_ranges: bool = False  # Range is ignored
    wrong_hash: bool = False  # os_hash_value of what is uploaded is wrong
    wrong_bytes: bool = False  # the first byte of a download is flipped
    hash_algorithm: str | None = "sha512"  # None: only `checksum`
    no_checksum: bool = False
    refuse_upload: int = 0  # status to answer uploads with before the body
    break_upload_after: int = 0  # close the connection after so many bytes
    stall_upload: bool = False  # never read the body
    stall_create: bool = False  # the image is made, the answer never comes
    refuse_create: int = 0  # the image is made, the answer is this status
    unavailable: int = 0  # so many downloads are answered 503
    code: str = ""  # the documented name that the 503 has
    page: int = 1000  # largest page of a list
    owner: str = "default"
    forbidden: str = "Image {id} is protected and cannot be deleted."  # what a protected image's DELETE is answered


@dataclass
class SmallServer:
    """Serves until left; `images` and `data` are what it holds, `asked` each request's method and path."""

    faults: Faults = field(default_factory=Faults)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sequence: int = 0
    url: str = ""
    before_delete: Callable[[str], Awaitable[None]] | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._let_go = asyncio.Event()
        started = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._start())
            started.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert started.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._let_go.set()
            await self._runner.cleanup()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def add(self, name: str | None = "disk", data: bytes | None = b"some bytes", **attributes: Any) -> str:
        """An image that is there already; active if it has data. Each is a second newer than the one before."""
        record = self._create({"name": name, "disk_format": "raw", "container_format": "bare", **attributes})
        if data is not None:
            self._store(record, data)
        record |= attributes
        return str(record["id"])

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_get("/versions", self._versions)
        app.router.add_post("/v2/images", self._post)
        app.router.add_get("/v2/images", self._list)
        app.router.add_get("/v2/images/{id}", self._get)
        app.router.add_delete("/v2/images/{id}", self._delete)
        app.router.add_put("/v2/images/{id}/file", self._put_file, expect_handler=self._expect)
        app.router.add_get("/v2/images/{id}/file", self._get_file)
        app.middlewares.append(self._note)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, dict(request.headers)))
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _versions(self, request: web.Request) -> web.Response:
        return web.json_response({"versions": [{"id": "v2.7", "status": "CURRENT", "links": []}]})

    async def _post(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        if wanted.get("id") in self.images:
            return _error(409, f"Image ID {wanted['id']} already exists!")
        record = self._create(wanted)
        if self.faults.stall_create:
            await self._let_go.wait()
        if self.faults.refuse_create:
            return _error(self.faults.refuse_create, "The answer is lost.")
        return web.json_response(record, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        hidden = query.get("os_hidden", "false").lower() == "true"
        operator, colon, name = query.get("name", "").partition(":")
        if colon and operator != "eq":
            return _error(400, f"Unable to filter name by unknown operator {operator!r}.")
        found = [
            image
            for image in sorted(self.images.values(), key=lambda image: image["created_at"], reverse=True)
            if image["os_hidden"] is hidden
            and ("name" not in query or (name if colon else operator) == image["name"])
            and set(query.getall("tag", [])) <= set(image["tags"])
        ]
        ids = [image["id"] for image in found]
        first = ids.index(query["marker"]) + 1 if "marker" in query else 0
        limit = min(int(query.get("limit", "25")), self.faults.page)
        page = found[first : first + limit]
        answer: dict[str, object] = {"images": page, "first": "/v2/images", "schema": "/v2/schemas/images"}
        if first + limit < len(found):
            # As servers behind a proxy do: the host they think they have.
            query_text = request.rel_url.update_query(marker=page[-1]["id"]).raw_query_string
            answer["next"] = f"/v2/images?{query_text}"
        return web.json_response(answer)

    async def _get(self, request: web.Request) -> web.Response:
        image = self.images.get(request.match_info["id"])
        return web.json_response(image) if image else _missing(request)

    async def _delete(self, request: web.Request) -> web.Response:
        if self.before_delete is not None:
            await self.before_delete(request.path)
        image = self.images.get(request.match_info["id"])
        if image is None:
            return _missing(request)
        if image["protected"]:
            return _error(403, self.faults.forbidden.format(id=image["id"]))
        del self.images[image["id"]]
        return web.Response(status=204)

    async def _expect(self, request: web.Request) -> web.Response | None:
        if self.faults.refuse_upload:
            return _error(self.faults.refuse_upload, "The upload is refused.")
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    async def _put_file(self, request: web.Request) -> web.Response:
        image = self.images[request.match_info["id"]]
        if self.faults.stall_upload:
            await self._let_go.wait()
            return _error(503, "The server stops.")
        image["status"] = "saving"
        body = bytearray()
        async for piece in request.content.iter_any():
            body += piece
            if self.faults.break_upload_after and len(body) > self.faults.break_upload_after:
                assert request.transport is not None
                request.transport.abort()
        expected = request.headers.get("x-openstack-image-size")
        if expected is not None and int(expected) != len(body):
            image["status"] = "queued"
            return _error(400, f"Size mismatch: expected {expected} bytes, got {len(body)} bytes")
        self._store(image, bytes(body))
        return web.Response(status=204)

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        image = self.images.get(request.match_info["id"])
        if image is None:
            return _missing(request)
        if image["id"] not in self.data:
            return web.Response(status=204)
        if self.faults.unavailable:
            self.faults.unavailable -= 1
            refusal = _error(503, "The store is busy.")
            refusal.headers.update({"x-drystone-error": self.faults.code} if self.faults.code else {})
            return refusal
        whole = self.data[image["id"]]
        asked = None if self.faults.no_ranges else request.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = whole[start:]
        if self.faults.wrong_bytes and not start:
            body = bytes([body[0] ^ 1]) + body[1:]
        response = web.StreamResponse(status=206 if asked else 200)
        response.headers.update({"ETag": f'"{image["id"]}"', "Content-Type": "application/octet-stream"})
        if asked:
            response.headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        response.content_length = len(body)
        await response.prepare(request)
        await self._send(request, response, body)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, body: bytes) -> None:
        if self.faults.cut_downloads or self.faults.stall_downloads:
            await response.write(body[: self.faults.cut_after])
            if self.faults.stall_downloads:
                await self._let_go.wait()
            self.faults.cut_downloads -= 1
            if request.transport is not None:
                # close, not abort: what was sent arrives, the rest never does.
                request.transport.close()
            return
        for at in range(0, len(body), 1 << 20):
            await response.write(body[at : at + (1 << 20)])

    def _create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        self.sequence += 1
        at = f"2026-11-22T{self.sequence // 3600:02}:{self.sequence // 60 % 60:02}:{self.sequence % 60:02}Z"
        record = {
            "id": str(uuid.uuid4()),
            "name": None,
            "status": "queued",
            "visibility": "shared",
            "owner": self.faults.owner,
            "protected": False,
            "os_hidden": False,
            "disk_format": None,
            "container_format": None,
            "min_disk": 0,
            "min_ram": 0,
            "size": None,
            "virtual_size": None,
            "checksum": None,
            "os_hash_algo": None,
            "os_hash_value": None,
            "created_at": at,
            "updated_at": at,
            "tags": [],
        } | wanted
        self.images[record["id"]] = record
        return record

    def _store(self, image: dict[str, Any], data: bytes) -> None:
        self.data[image["id"]] = data
        image |= {"status": "active", "size": len(data)}
        if not self.faults.no_checksum:
            image["checksum"] = hashlib.md5(data).hexdigest()
        if self.faults.hash_algorithm is not None:
            value = hashlib.new(self.faults.hash_algorithm, data).hexdigest()
            if self.faults.wrong_hash:
                value = value[::-1]
            image |= {"os_hash_algo": self.faults.hash_algorithm, "os_hash_value": value}


def _missing(request: web.Request) -> web.Response:
    return _error(404, f"No image found with ID {request.match_info['id']}.")


def _error(status: int, message: str) -> web.Response:
    return web.json_response(
        {"message": message, "code": str(status), "title": "Error"},
        status=status,
        headers={"x-openstack-request-id": "req-7"},
    )
