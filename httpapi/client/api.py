"""The Images API v2 as coroutines: one method an operation, errors as one tree (`errors.py`).

There is no limit on how long a transfer takes, only on how long no byte of it moves. Redirects are never
followed: an image must not go to, or come from, a host that the user did not name.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self, TypedDict, Unpack
from urllib.parse import quote

import aiohttp
from yarl import URL

from httpapi.client.answers import following, raise_for_error, read_json
from httpapi.client.auth import PROJECT_HEADER, Access, check_endpoint, login_in, trust_of
from httpapi.client.errors import ClientError, Interrupted, NoData, NotAnImageService
from httpapi.client.record import read_record
from httpapi.client.streams import Incoming, Outgoing
from httpapi.client.transport import Sockets, transport_errors
from httpapi.client.unpacking import ACCEPT
from httpapi.wire.sizes import IMAGE_SIZE_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from httpapi.wire.images import ImageRecord

CONNECT_SECONDS: Final = 10.0
# Longer than a server may let an upload wait for its share of memory.
STALL_SECONDS: Final = 120.0
# After the last byte the server makes everything durable before it answers.
ANSWER_SECONDS: Final = 600.0
# A record may be large; a page of so many of the largest is still read at once.
PAGE: Final = 100
_VERSIONED = re.compile(r"/v2(\.\d+)?$")


class Options(TypedDict, total=False):
    """What a call hands to aiohttp, by aiohttp's names."""

    json: Mapping[str, object] | Sequence[object]
    data: AsyncIterator[memoryview]
    headers: Mapping[str, str]
    expect100: bool
    timeout: aiohttp.ClientTimeout


class ImagesApi:
    """One service; an async context manager that holds its connections.

    `access` says where the service is, with or without /v2, and who asks; an address such as
    http://127.0.0.1:9292 alone is one without a login. EndpointRefused if it cannot be an address,
    InsecureEndpoint if a password would leave this machine in the clear. `renew` finds another login for the same
    service when the one in use, which it is given, is refused in the middle of something; or None.
    """

    def __init__(
        self,
        access: Access | str,
        *,
        stall_seconds: float = STALL_SECONDS,
        renew: Callable[[Access], Awaitable[Access | None]] | None = None,
    ) -> None:
        self._renew = renew
        self._access = _with_login(access)
        self._access.check()
        # Without the password that an address may hold.
        self.endpoint = self._access.endpoint
        self._root = _VERSIONED.sub("", self.endpoint)
        self._stall = stall_seconds
        self._discovered = False
        self._sockets = Sockets()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Makes no request yet."""
        access, headers = self._access, {"Accept": "application/json", "Accept-Encoding": "identity"}
        if access.login is not None:
            headers |= access.login.headers(access.project)
        secure = access.endpoint.lower().startswith("https:")
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                socket_factory=self._sockets.make, ssl=trust_of(access.cacert) if secure else True
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self._stall),
            # Bytes must come as they are stored; a compressed body would hide sizes and break ranges.
            headers=headers,
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connections."""
        assert self._http is not None
        await self._http.close()
        await self._sockets.cut()

    async def log_in_again(self) -> bool:
        """Whether another login was found; it goes with the requests that follow."""
        assert self._http is not None
        found = None if self._renew is None else await self._renew(self._access)
        # The one that was refused would be refused again, for ever.
        if found is None or found.login is None or found.login == self._access.login:
            return False
        self._access = found
        self._http.headers.popall(PROJECT_HEADER, None)
        self._http.headers.update(found.login.headers(found.project))
        return True

    @property
    def login_headers(self) -> Mapping[str, str]:
        """What makes a request the caller's, for programs that ask the service themselves; secret."""
        access = self._access
        return {} if access.login is None else access.login.headers(access.project)

    @property
    def cacert(self) -> Path | None:
        """The authorities that the service's certificate must come from; None for the system's."""
        return self._access.cacert

    def data_url(self, image_id: str) -> str:
        """Where an image's bytes are; no secret stands in it."""
        return f"{self._root}/v2{_path(image_id)}/file"

    async def discover(self) -> None:
        """Asks which versions there are, once, before the first request: a wrong address is named, not met as a 404."""
        if self._discovered:
            return
        try:
            async with self._send("GET", f"{self._root}/versions") as response:
                with self.network():
                    document = await read_json(response) if response.status in {200, 300} else None
        except Interrupted as failure:
            # What a server of TLS does with a request in the clear.
            if self.endpoint.startswith("http:") and isinstance(failure.__cause__, aiohttp.ServerDisconnectedError):
                raise Interrupted(
                    f"{failure}; if the service speaks TLS, its address begins with https://"
                ) from failure
            raise
        versions = document.get("versions") if isinstance(document, dict) else None
        known = [version.get("id") for version in versions or () if isinstance(version, dict)]
        if not any(isinstance(known_id, str) and re.match(r"v2\b", known_id) for known_id in known):
            raise NotAnImageService(
                f"{self.endpoint} answers (HTTP {response.status}), but not as an image service "
                "with the Images API v2: check --endpoint",
            )
        self._discovered = True

    async def create_image(self, attributes: Mapping[str, object]) -> ImageRecord:
        """A new image without data; `attributes` as the API names them, extra properties among them."""
        return read_record(await self._json("POST", "/images", json=attributes))

    async def get_image(self, image_id: str) -> ImageRecord:
        """One image's record; NotFound when there is none that this caller may see."""
        image = read_record(await self._json("GET", _path(image_id)))
        if image.id.lower() != image_id.lower():
            raise NotAnImageService(f"asked for image {image_id}, the server answers with {image.id}: check --endpoint")
        return image

    async def list_images(self, query: Sequence[tuple[str, str]] = ()) -> AsyncIterator[ImageRecord]:
        """All images that match `query` (the API's filters), newest first, page after page."""
        text = str(URL.build(query=[*query, ("limit", str(PAGE))]).raw_query_string)
        while text:
            page = await self._json("GET", f"/images?{text}")
            if not isinstance(page, dict) or not isinstance(page.get("images"), list):
                raise NotAnImageService("the answer is no list of images: check --endpoint")
            for record in page["images"]:
                yield read_record(record)
            text = following(page.get("next"), text)

    async def delete_image(self, image_id: str) -> None:
        """The image and, where nothing else needs them, its bytes."""
        async with self.request("DELETE", _path(image_id)):
            pass

    async def upload(
        self, image_id: str, source: AsyncIterator[memoryview], size: int | None, *, to: str = "file"
    ) -> None:
        """Sends the pieces of `source` as the image's data; returns when the server holds them durably.

        `to` is `file`, or `stage` for what an import is to make the image of.
        `size` is their sum in bytes, None if that is not known before. A piece is read no more once two
        further ones were asked for. An error that `source` raises passes through, and the upload is broken off.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if size is not None:
            headers |= {"Content-Length": str(size), IMAGE_SIZE_HEADER: str(size)}
        # The watch on `body` replaces sock_read, which would also count the time the source takes.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        body = Outgoing(source, stall_seconds=self._stall, answer_seconds=ANSWER_SECONDS)
        try:
            # With Expect, a refusal (no such image, wrong state, too large) arrives before the bytes leave.
            async with (
                body.watch(),
                self.request(
                    "PUT",
                    f"{_path(image_id)}/{to}",
                    data=body.pieces(),
                    headers=headers,
                    expect100=True,
                    timeout=timeout,
                ),
            ):
                pass
        except ClientError:
            if body.failure is not None:
                raise body.failure from None
            raise

    @asynccontextmanager
    async def download(self, image_id: str, *, start: int = 0, etag: str | None = None) -> AsyncIterator[Incoming]:
        """The image's bytes from `start` on, streamed; NoData if it has none.

        `etag` is the one of an earlier answer: if the bytes are others now, the whole comes instead of the
        rest, and `Incoming.start` is 0.
        """
        # As it is stored it has no ranges: only a whole one can come so.
        headers = {"Accept": "application/octet-stream" if start else ACCEPT}
        if start:
            headers["Range"] = f"bytes={start}-"
            # If-Range takes strong tags only.
            if etag is not None and not etag.startswith("W/"):
                headers["If-Range"] = etag
        async with self.request("GET", f"{_path(image_id)}/file", headers=headers) as response:
            if response.status == 204:
                raise NoData(f"image {image_id} has no data yet: push some, or wait until its upload is complete")
            yield Incoming.from_response(response, self.network)

    async def read_part(self, image_id: str, start: int, stop: int) -> bytes | None:
        """The image's bytes from `start` up to `stop`, all in memory; None if the service sends no parts."""
        headers = {"Accept": "application/octet-stream", "Range": f"bytes={start}-{stop - 1}"}
        async with self.request("GET", f"{_path(image_id)}/file", headers=headers) as response:
            if response.status != 206:
                return None
            with self.network():
                found = await response.read()
        return found if len(found) == stop - start else None

    async def ask(self, method: str, path: str) -> object:
        """Any other operation without a body: the JSON document that answers it; `path` is what follows /v2."""
        return await self._json(method, path)

    async def _json(self, method: str, path: str, **options: Unpack[Options]) -> object:
        async with self.request(method, path, **options) as response:
            with self.network():
                return await read_json(response)

    @asynccontextmanager
    async def request(
        self, method: str, path: str, **options: Unpack[Options]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Any operation, for the modules beside this one: a successful answer, to be read inside `network()`."""
        await self.discover()
        async with self._send(method, f"{self._root}/v2{path}", **options) as response:
            with self.network():
                await raise_for_error(response)
            yield response

    @asynccontextmanager
    async def _send(self, method: str, url: str, **options: Unpack[Options]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head; `options` are aiohttp's own keywords."""
        assert self._http is not None, "ImagesApi is used inside `async with`"
        with self.network():
            response = await self._http.request(method, URL(url, encoded=True), allow_redirects=False, **options)
        try:
            yield response
        except BaseException:
            # Not release(): that would go on sending a body that the server has refused.
            response.close()
            raise
        response.release()

    def network(self) -> AbstractContextManager[None]:
        """Around reading an answer: what breaks there is told as this package's errors."""
        return transport_errors(self.endpoint, self._stall)


def _with_login(access: Access | str) -> Access:
    """The access with the login apart from the address, where it may stand too."""
    if isinstance(access, str):
        access = Access(access, "the address")
    check_endpoint(access.endpoint)
    plain = str(URL(access.endpoint.rstrip("/"), encoded=True).with_user(None))
    return replace(access, endpoint=plain, login=access.login or login_in(access.endpoint))


def _path(image_id: str) -> str:
    return f"/images/{quote(image_id, safe='')}"
