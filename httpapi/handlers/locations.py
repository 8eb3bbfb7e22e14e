"""Where images lie: `/v2/images/{id}/locations` and `DELETE /v2/stores/{store}/{id}`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.usecases import location_import, locations
from httpapi.body import read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import locations_json
from httpapi.request_id import REQUEST_ID
from httpapi.wire.errors import BadRequest
from httpapi.wire.json_body import parse_object

if TYPE_CHECKING:
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class LocationsHandlers:
    """The verbs on an image's places; `body_timeout` is how many seconds a body may stand still."""

    services: Services
    body_timeout: float

    async def list(self, request: web.Request) -> web.Response:
        """A bare list, as the reference has it."""
        refuse_body(request)
        found = await locations.list_locations(self.services, request[CALLER], request.match_info["image_id"])
        return web.Response(body=json.dumps(locations_json(found)).encode(), content_type="application/json")

    async def add(self, request: web.Request) -> web.Response:
        """202 once there is a task that makes the image of what lies there."""
        document = parse_object(await read_json(request, idle_seconds=self.body_timeout))
        if "url" not in document or not document.keys() <= {"url", "validation_data"}:
            raise BadRequest("The JSON body is an object of url, and of validation_data at most.")
        image_id, said = request.match_info["image_id"], document.get("validation_data")
        await location_import.start(
            self.services, request[CALLER], image_id, document["url"], said, request_id=request[REQUEST_ID]
        )
        return web.Response(status=202)

    async def delete_from_store(self, request: web.Request) -> web.Response:
        """204: the image lies there no more, whatever of its copy is still to be removed."""
        refuse_body(request)
        store, image_id = request.match_info["store"], request.match_info["image_id"]
        await locations.delete_from_store(self.services, request[CALLER], store, image_id)
        return web.Response(status=204)
