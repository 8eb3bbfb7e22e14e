"""An image's bytes: PUT, GET and HEAD of `/v2/images/{id}/file`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from catalog.usecases import image_data
from httpapi.body import BodySource, check_encoding, refuse_body
from httpapi.caller import CALLER
from httpapi.request_id import REQUEST_ID
from httpapi.streaming import send_body
from httpapi.wire.errors import UnsupportedBody
from httpapi.wire.locations import PREFER, STORE_HEADER, preferred
from httpapi.wire.reading import CONDITIONS, PARTS, answer_read, wants_stored
from httpapi.wire.sizes import IMAGE_SIZE_HEADER, announced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from catalog.usecases.image_data import Download
    from catalog.usecases.services import Services
    from httpapi.wire.reading import ReadAnswer


@dataclass(frozen=True, slots=True)
class ImageDataHandlers:
    """The three verbs; `body_timeout` is how many seconds a transfer may stand still."""

    services: Services
    body_timeout: float

    async def put(self, request: web.Request) -> web.Response:
        """Store the body as the image's bytes: queued → active, 204."""
        check_type(request)
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
                store=request.headers.get(STORE_HEADER) or None,
            )
        finally:
            source.close()
        return web.Response(status=204)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes, or the part of them that is asked for."""
        refuse_body(request)
        return await give(request, await self._open(request), {}, idle_seconds=self.body_timeout)

    async def head(self, request: web.Request) -> web.StreamResponse:
        """The headers of a whole read, no bytes."""
        return give_head(request, await self._open(request), {})

    async def _open(self, request: web.Request) -> Download:
        prefer = preferred(request.query.getall(PREFER, []))
        return await image_data.download(self.services, request[CALLER], request.match_info["image_id"], prefer=prefer)


async def give(
    request: web.Request, download: Download, headers: Mapping[str, str], *, idle_seconds: float
) -> web.StreamResponse:
    """The answer to a GET of an image's bytes, with these headers besides; closes the download."""
    try:
        answer = _answer(request, download, (*CONDITIONS, *PARTS))
        response = web.StreamResponse(status=answer.status, headers={**answer.headers, **headers})
        if answer.stored:
            response.enable_chunked_encoding()
        elif answer.length == 0:
            return response
        body = download.read_stored() if answer.stored else download.read(answer.start, answer.stop)
        length = None if answer.stored else answer.length
        return await send_body(request, response, body, length=length, idle_seconds=idle_seconds)
    finally:
        download.close()


def give_head(request: web.Request, download: Download, headers: Mapping[str, str]) -> web.StreamResponse:
    """The answer to a HEAD of an image's bytes; closes the download."""
    try:
        answer = _answer(request, download, CONDITIONS)
    finally:
        download.close()
    return web.StreamResponse(status=answer.status, headers={**answer.headers, **headers})


def check_type(request: web.Request) -> None:
    """Raise UnsupportedBody for a body that is not said to be bytes."""
    if "Content-Type" not in request.headers or request.content_type != "application/octet-stream":
        raise UnsupportedBody("An image's bytes are sent with Content-Type: application/octet-stream.")


def _answer(request: web.Request, download: Download, names: Iterable[str]) -> ReadAnswer:
    image = download.image
    asked = {name: ", ".join(request.headers.getall(name)) for name in names if name in request.headers}
    # HTTP/1.0 has no chunks: a body that was cut off between two frames would pass for whole.
    chunked = request.version >= HttpVersion11
    stored = download.has_stored and chunked and wants_stored(",".join(request.headers.getall("Accept", [])))
    return answer_read(asked, image_id=image.id, size=download.size, checksum=image.checksum, stored=stored)
