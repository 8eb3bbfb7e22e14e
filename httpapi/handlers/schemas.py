"""The schemas, said by what is served: statuses, formats, kinds of tasks and properties are the catalog's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from catalog import cutting
from catalog.jobs.kinds import KINDS
from catalog.metadefs.shapes import SCHEMAS
from catalog.model.image import Status, Visibility
from catalog.model.known_properties import KNOWN_PROPERTIES
from catalog.model.task import TaskStatus
from chunker.cutting import CHOICES
from httpapi.body import refuse_body
from httpapi.wire.schemas import Words, known_property, schemas

if TYPE_CHECKING:
    from catalog.limits import Limits
    from httpapi.caller import Handler


def words_of(limits: Limits) -> Words:
    """What this service can say in an image's and a task's attributes."""
    known = {
        name: known_property(each.meaning, is_image_id=each.is_image_id) for name, each in KNOWN_PROPERTIES.items()
    }
    known[cutting.PROPERTY] = known_property(f"How the bytes are cut into blocks: {CHOICES}.")
    return Words(
        statuses=[*Status],
        visibilities=[*Visibility],
        container_formats=sorted(limits.container_formats),
        disk_formats=sorted(limits.disk_formats),
        task_types=sorted(KINDS),
        task_statuses=[*TaskStatus],
        known=known,
    )


def schema_handlers(limits: Limits) -> dict[str, Handler]:
    """One handler a schema, by its name; each answers with bytes that were made once."""
    documents = schemas(words_of(limits)) | {f"metadefs/{name}": shape for name, shape in SCHEMAS.items()}
    return {name: _answering(json.dumps(document).encode()) for name, document in documents.items()}


def _answering(body: bytes) -> Handler:
    async def show(request: web.Request) -> web.Response:
        refuse_body(request)
        return web.Response(body=body, content_type="application/json")

    return show
