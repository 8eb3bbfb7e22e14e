"""Images: create, list, show, change, delete, deactivate and reactivate."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog import quick_json
from catalog.model.change import Act, Change
from catalog.usecases import activation, changing, images
from catalog.usecases.attributes import new_image
from catalog.usecases.queries import parse_query
from catalog.usecases.stores import that_take_images
from httpapi.body import read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import document_of
from httpapi.proxies import base_url
from httpapi.request_id import REQUEST_ID
from httpapi.wire.images import list_links
from httpapi.wire.imports import IMPORT_METHODS
from httpapi.wire.json_body import parse_json, parse_object
from httpapi.wire.patches import dialect_of, parse_patch
from httpapi.wire.stores import STORES_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.usecases.services import Services

# So many bytes of a list are made before other requests have a turn: some milliseconds of work. With less at a time
# a list comes too slowly beside an upload, since it waits for the interpreter after each piece.
_AT_ONCE = 128 << 10
# And so many seconds at most: who may read which of their properties may take longer than to write what is left.
_LONGEST = 0.005
# Seconds between them while something is uploaded: hashing has the interpreter meanwhile, which waits for it elsewhere.
_REST = 0.0004


@dataclass(frozen=True, slots=True)
class ImagesHandlers:
    """The verbs on images; `body_timeout` is how many seconds a body may stand still."""

    services: Services
    body_timeout: float

    async def create(self, request: web.Request) -> web.Response:
        """201 with the new image; Location is absolute."""
        attributes = parse_object(await read_json(request, idle_seconds=self.body_timeout))
        image = await images.create(self.services, request[CALLER], new_image(attributes))
        response = _json(self._written(request, image), status=201)
        response.headers["Location"] = f"{base_url(request)}/v2/images/{image.id}"
        if names := that_take_images(self.services):
            response.headers[STORES_HEADER] = ",".join(names)
        if self.services.import_methods:
            response.headers[IMPORT_METHODS] = ",".join(self.services.import_methods)
        return response

    async def list(self, request: web.Request) -> web.Response:
        """One page, which may end early, and links to the first and the next one, which keep every parameter."""
        refuse_body(request)
        pairs = list(request.query.items())
        page = await images.list_images(self.services, request[CALLER], parse_query(pairs, self.services.limits))
        links = list_links(pairs, last_id=page.images[-1].id if page.more and page.images else None)
        rest = _REST if self.services.running else 0
        written = self._writer(request[CALLER])
        listed = b", ".join(await _pieces(map(written, page.images), rest=rest))
        return _json(b'{"images": [%b], %b' % (listed, json.dumps(links).encode()[1:]), status=200)

    async def show(self, request: web.Request) -> web.Response:
        """One image."""
        refuse_body(request)
        image = await images.show(self.services, request[CALLER], request.match_info["image_id"])
        return _json(self._written(request, image), status=200)

    async def patch(self, request: web.Request) -> web.Response:
        """The image as it is then; all that is asked for is done, or nothing."""
        dialect = dialect_of(request.content_type)
        document = parse_json(await read_json(request, idle_seconds=self.body_timeout))
        changes = [Change(Act(each.act), each.name, each.value, each.at) for each in parse_patch(document, dialect)]
        image_id, request_id = request.match_info["image_id"], request[REQUEST_ID]
        image = await changing.change(self.services, request[CALLER], image_id, changes, request_id=request_id)
        return _json(self._written(request, image), status=200)

    async def delete(self, request: web.Request) -> web.Response:
        """The image goes away at once: 204; a second time it is unknown."""
        refuse_body(request)
        await images.delete(self.services, request[CALLER], request.match_info["image_id"])
        return web.Response(status=204)

    async def deactivate(self, request: web.Request) -> web.Response:
        """204; the bytes are for admins alone, now or already."""
        refuse_body(request)
        await activation.deactivate(self.services, request[CALLER], request.match_info["image_id"])
        return web.Response(status=204)

    async def reactivate(self, request: web.Request) -> web.Response:
        """204; the bytes are as before, now or already."""
        refuse_body(request)
        await activation.reactivate(self.services, request[CALLER], request.match_info["image_id"])
        return web.Response(status=204)

    def _written(self, request: web.Request, image: Image) -> bytes:
        return self._writer(request[CALLER])(image)

    def _writer(self, caller: Caller) -> Callable[[Image], bytes]:
        """What makes JSON of images for this caller."""
        services, rights = self.services, self.services.protection.rights(caller)
        return lambda image: quick_json.write(document_of(services, caller, image, rights))


async def _pieces(written: Iterable[bytes], *, rest: float) -> list[bytes]:
    pieces: list[bytes] = []
    held = 0
    now = asyncio.get_running_loop().time
    began = now()
    for piece in written:
        pieces.append(piece)
        held += len(pieces[-1])
        if held >= _AT_ONCE or now() - began > _LONGEST:
            await asyncio.sleep(rest)
            held, began = 0, now()
    return pieces


def _json(body: bytes, status: int) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")
