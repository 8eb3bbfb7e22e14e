"""An image's bytes: PUT, GET and HEAD of `/v2/images/{id}/file`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from blockstore.errors import BlockstoreError
from catalog.model.errors import CatalogError
from catalog.usecases import image_data
from httpapi.access_log import ACCESS_LINE
from httpapi.body import BodySource, check_encoding
from httpapi.caller import CALLER
from httpapi.request_id import REQUEST_ID
from httpapi.sending import BodySender, ClientStalled
from httpapi.wire.errors import UnsupportedBody
from httpapi.wire.reading import CONDITIONS, PARTS, answer_read, wants_stored
from httpapi.wire.sizes import IMAGE_SIZE_HEADER, announced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from catalog.usecases.image_data import Download
    from catalog.usecases.services import Services
    from httpapi.wire.reading import ReadAnswer

_log = logging.getLogger("drystone.data")


@dataclass(frozen=True, slots=True)
class ImageDataHandlers:
    """The three verbs; `body_timeout` is how many seconds a transfer may stand still."""

    services: Services
    body_timeout: float

    async def put(self, request: web.Request) -> web.Response:
        """Store the body as the image's bytes: queued → active, 204."""
        _check_type(request)
        check_encoding(request)
        sizes = announced(request.headers.get(IMAGE_SIZE_HEADER), request.headers.get("Content-Length"))
        source = BodySource(request, sizes, idle_seconds=self.body_timeout)
        try:
            await image_data.upload(
                self.services,
                request[CALLER],
                request.match_info["image_id"],
                source,
                expected=sizes.expected,
                request_id=request[REQUEST_ID],
            )
        finally:
            source.close()
        return web.Response(status=204)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes, or the part of them that is asked for."""
        download = await image_data.download(self.services, request[CALLER], request.match_info["image_id"])
        try:
            return await self._send(request, download, _answer(request, download, (*CONDITIONS, *PARTS)))
        finally:
            download.close()

    async def head(self, request: web.Request) -> web.StreamResponse:
        """The headers of a whole read, no bytes."""
        download = await image_data.download(self.services, request[CALLER], request.match_info["image_id"])
        try:
            answer = _answer(request, download, CONDITIONS)
        finally:
            download.close()
        return web.StreamResponse(status=answer.status, headers=answer.headers)

    async def _send(self, request: web.Request, download: Download, answer: ReadAnswer) -> web.StreamResponse:
        """Send the answer; the first piece is read before the status goes out, so that damage there is still a 503."""
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if answer.stored:
            response.enable_chunked_encoding()
        elif answer.length == 0:
            return response
        body = download.read_stored() if answer.stored else download.read(answer.start, answer.stop)
        try:
            first = await anext(body, b"")
            await response.prepare(request)
            with BodySender(request, response, idle_seconds=self.body_timeout) as sender:
                await _send_body(request, sender, _joined(first, body), answer)
        finally:
            if isinstance(body, AsyncGenerator):
                await body.aclose()
        return response


async def _send_body(
    request: web.Request, sender: BodySender, body: AsyncIterator[bytes | memoryview], answer: ReadAnswer
) -> None:
    line = request[ACCESS_LINE]
    piece: bytes | memoryview = b""
    try:
        async for piece in body:
            line.sent += len(piece)
            await sender.send(piece)
    except (BlockstoreError, CatalogError, ClientStalled) as error:
        _cut(request, str(error))
    except ConnectionError:
        line.sent -= len(piece)
        line.cut = True
        _log.info("The client went away in the middle of a download.")
        if request.transport is not None:
            # Whatever went wrong with it, this connection never sees an orderly end.
            request.transport.abort()
    else:
        if line.sent != answer.length and not answer.stored:
            _cut(request, f"{line.sent} bytes came where {answer.length} belong")


async def _joined(
    first: bytes | memoryview, rest: AsyncIterator[bytes | memoryview]
) -> AsyncIterator[bytes | memoryview]:
    yield first
    async for piece in rest:
        yield piece


def _check_type(request: web.Request) -> None:
    if "Content-Type" not in request.headers or request.content_type != "application/octet-stream":
        raise UnsupportedBody("An image's bytes are sent with Content-Type: application/octet-stream.")


def _answer(request: web.Request, download: Download, names: Iterable[str]) -> ReadAnswer:
    image = download.image
    asked = {name: ", ".join(request.headers.getall(name)) for name in names if name in request.headers}
    # HTTP/1.0 has no chunks: a body that was cut off between two frames would pass for whole.
    stored = request.version >= HttpVersion11 and wants_stored(",".join(request.headers.getall("Accept", [])))
    return answer_read(asked, image_id=image.id, size=download.size, checksum=image.checksum, stored=stored)


def _cut(request: web.Request, cause: str) -> None:
    """End the connection so that nobody takes what was sent for whole: no padding, no orderly end."""
    _log.error("Download of %s cut off: %s", request.match_info["image_id"], cause)
    line = request[ACCESS_LINE]
    line.cut = True
    if request.transport is not None:
        # What waits in our own buffer never leaves.
        line.sent = max(0, line.sent - request.transport.get_write_buffer_size())
        request.transport.abort()
