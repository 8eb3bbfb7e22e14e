"""Where images come from: `GET /v2/lineage`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.usecases.lineage import list_lineage
from catalog.usecases.queries import parse_query
from httpapi.body import refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import wire_time
from httpapi.wire.images import list_links
from httpapi.wire.lineage import LineageRecord, ParentRecord

if TYPE_CHECKING:
    from catalog.usecases.lineage import Descent
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class LineageHandlers:
    """The verbs on lineage."""

    services: Services

    async def list(self, request: web.Request) -> web.Response:
        """One page of what `GET /v2/images` would list, with the parents, and the same links."""
        refuse_body(request)
        pairs = list(request.query.items())
        page = await list_lineage(self.services, request[CALLER], parse_query(pairs, self.services.limits))
        last = page.descents[-1].image.id if page.more and page.descents else None
        links = list_links(pairs, last_id=last, noun="lineage")
        document = {"lineage": [record_of(each).to_json() for each in page.descents], **links}
        body = json.dumps(document, ensure_ascii=False).encode()
        return web.Response(body=body, content_type="application/json")


def record_of(descent: Descent) -> LineageRecord:
    """The record of an image in its line."""
    image = descent.image
    seen = descent.parent_visible
    return LineageRecord(
        id=image.id,
        name=image.name,
        status=image.status.value,
        created_at=wire_time(image.created_at),
        size=image.size,
        changed_size=descent.changed_size,
        parent=None if descent.parent is None else ParentRecord(descent.parent, visible=bool(seen)),
    )
