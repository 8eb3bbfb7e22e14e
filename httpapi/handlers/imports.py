"""Import and staging: `PUT …/stage`, `POST …/import`.

The way that is asked for is looked at before the image, so no answer about an unknown way tells of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.model.errors import Invalid, NotFound
from catalog.model.importing import Method
from catalog.usecases import imports
from catalog.usecases.imports import Asked
from catalog.usecases.staging import stage
from httpapi.body import BodySource, check_encoding, read_json
from httpapi.caller import CALLER
from httpapi.handlers.image_data import check_type
from httpapi.request_id import REQUEST_ID
from httpapi.wire.imports import method_of, parse_import
from httpapi.wire.json_body import parse_json
from httpapi.wire.locations import STORE_HEADER
from httpapi.wire.sizes import IMAGE_SIZE_HEADER, announced

if TYPE_CHECKING:
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class ImportsHandlers:
    """The verbs of import; `body_timeout` is how many seconds a body may stand still."""

    services: Services
    body_timeout: float

    async def stage(self, request: web.Request) -> web.Response:
        """Keep the body for an import: queued → uploading, 204. 404, before a byte of it, where no import takes it."""
        if Method.GLANCE_DIRECT not in self.services.import_methods:
            raise NotFound(f"Nothing can be staged: {self._ways()}.")
        check_type(request)
        check_encoding(request)
        sizes = announced(request.headers.get(IMAGE_SIZE_HEADER), request.headers.get("Content-Length"))
        source = BodySource(request, sizes, idle_seconds=self.body_timeout)
        image_id = request.match_info["image_id"]
        try:
            await stage(self.services, request[CALLER], image_id, source, expected=sizes.expected)
        finally:
            source.close()
        return web.Response(status=204)

    async def start(self, request: web.Request) -> web.Response:
        """202 once there is a task that imports."""
        document = parse_json(await read_json(request, idle_seconds=self.body_timeout))
        name = method_of(document)
        if name not in self.services.import_methods:
            raise Invalid(f"Unknown way of import {name[:80]!r}; {self._ways()}.")
        said = parse_import(document, request.headers.get(STORE_HEADER))
        asked = Asked(said.method, said.stores, said.all_stores, said.all_must_succeed)
        image_id, request_id = request.match_info["image_id"], request[REQUEST_ID]
        token = request.headers.get("X-Auth-Token")
        await imports.start(self.services, request[CALLER], image_id, asked, request_id=request_id, token=token)
        return web.Response(status=202)

    def _ways(self) -> str:
        ways = ", ".join(self.services.import_methods)
        return f"ways of import are {ways}" if ways else "upload the bytes with PUT /v2/images/{id}/file"
