"""Deleted images: `GET /v2/deleted`, and the act that brings one back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.usecases.deleted_images import list_kept, parse_kept_query, undelete
from httpapi.body import refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import document_of, wire_time
from httpapi.request_id import REQUEST_ID
from httpapi.wire.deleted import LOST_HEADER, DeletedRecord
from httpapi.wire.images import list_links

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.deleted import KeptImage
    from catalog.model.image import Image
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class DeletedHandlers:
    """The verbs on deleted images."""

    services: Services

    async def list(self, request: web.Request) -> web.Response:
        """One page, the last deleted first, and links to the first and the next one."""
        refuse_body(request)
        pairs = list(request.query.items())
        page = await list_kept(self.services, request[CALLER], parse_kept_query(pairs, self.services.limits))
        links = list_links(pairs, last_id=page.images[-1].id if page.more else None, noun="deleted")
        return _json({"deleted": [self._record_of(each).to_json() for each in page.images], **links})

    async def undelete(self, request: web.Request) -> web.Response:
        """The image's record, as it is from now on; a header tells the visibility that it lost."""
        refuse_body(request)
        image_id, request_id = request.match_info["image_id"], request[REQUEST_ID]
        back = await undelete(self.services, request[CALLER], image_id, request_id=request_id)
        response = _json(self._document(request[CALLER], back.image))
        if back.lost is not None:
            response.headers[LOST_HEADER] = back.lost.value
        return response

    def _document(self, caller: Caller, image: Image) -> dict[str, object]:
        return document_of(self.services, caller, image, self.services.protection.rights(caller))

    def _record_of(self, kept: KeptImage) -> DeletedRecord:
        until = kept.until(timedelta(seconds=self.services.keep_deleted))
        return DeletedRecord(
            id=kept.id,
            name=kept.name,
            owner=kept.owner,
            status=kept.status.value,
            size=kept.size,
            created_at=wire_time(kept.created_at),
            deleted_at=wire_time(kept.deleted_at),
            kept_until=wire_time(until),
        )


def _json(document: object) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(body=body, content_type="application/json")
