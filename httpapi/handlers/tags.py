"""Tags of an image: put one on, take one off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.usecases import tags
from httpapi.body import refuse_body
from httpapi.caller import CALLER

if TYPE_CHECKING:
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class TagsHandlers:
    """The verbs on tags."""

    services: Services

    async def put(self, request: web.Request) -> web.Response:
        """204, whether the image had the tag or not."""
        refuse_body(request)
        await tags.add(self.services, request[CALLER], request.match_info["image_id"], request.match_info["tag"])
        return web.Response(status=204)

    async def delete(self, request: web.Request) -> web.Response:
        """204; 404 when the image has no such tag."""
        refuse_body(request)
        await tags.remove(self.services, request[CALLER], request.match_info["image_id"], request.match_info["tag"])
        return web.Response(status=204)
