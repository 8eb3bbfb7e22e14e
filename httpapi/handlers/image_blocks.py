"""An image as blocks: GET of its manifest and of its changes, POST for blocks by number. DELTA.md is the contract."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from blockstore.sent_blocks import MOST_BLOCKS_SENT, SentHoles
from catalog.usecases import block_reads
from httpapi.body import read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.streaming import send_body
from httpapi.wire import changes
from httpapi.wire.block_stream import MEDIA_TYPE, block_head, holes_item
from httpapi.wire.conditions import etag_of, names_weakly
from httpapi.wire.deltas import MANIFEST_HEADER, MANIFEST_TYPE, parse_wanted
from httpapi.wire.errors import BadRequest
from httpapi.wire.json_body import parse_object
from httpapi.wire.number_ranges import parse_ranges
from httpapi.wire.queries import whole_number
from httpapi.wire.reading import prefers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from blockstore.sent_blocks import NumberRange
    from catalog.block_ports import BlockReader, ManifestSummary
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class ImageBlocksHandlers:
    """What is read of an image as blocks; `body_timeout` is how many seconds a transfer may stand still."""

    services: Services
    body_timeout: float

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """The flat manifest, or a summary of it."""
        refuse_body(request)
        opened = await block_reads.open_blocks(self.services, request[CALLER], request.match_info["image_id"])
        try:
            summarised = prefers(",".join(request.headers.getall("Accept", [])), "application/json", MANIFEST_TYPE)
            tag = etag_of(opened.image.id)
            headers = {"ETag": f"W/{tag}" if summarised else tag, "Vary": "Accept"}
            if names_weakly(",".join(request.headers.getall("If-None-Match", [])), tag):
                return web.Response(status=304, headers=headers)
            found = await opened.reader.summary()
            if summarised:
                return _json(_summary_document(opened.image.id, found), headers)
            headers |= {"Content-Type": MANIFEST_TYPE, "Content-Length": str(found.bytes)}
            response = web.StreamResponse(headers=headers | {MANIFEST_HEADER: found.digest.hex()})
            body = opened.reader.manifest()
            return await send_body(request, response, body, length=found.bytes, idle_seconds=self.body_timeout)
        finally:
            opened.reader.close()

    async def changes(self, request: web.Request) -> web.Response:
        """A page of what differs from another image."""
        refuse_body(request)
        since = request.query.get("since")
        if since is None:
            raise BadRequest("since must name the image to compare with.")
        limit = min(whole_number(request.query.get("limit"), "limit", changes.MOST_EXTENTS), changes.MOST_EXTENTS)
        found = await block_reads.changes(
            self.services,
            request[CALLER],
            request.match_info["image_id"],
            since,
            start=whole_number(request.query.get("from"), "from", 0),
            most=max(1, limit),
        )
        page = changes.ChangesPage(
            found.image.id, found.since.id, found.size, found.since_size, found.extents, found.next
        )
        return _json(page.to_json(limit=max(1, limit)))

    async def blocks(self, request: web.Request) -> web.StreamResponse:
        """Blocks by number, as they are stored."""
        if request.version < HttpVersion11:
            # No chunks there: a stream that was cut off between two items would pass for whole.
            raise BadRequest("Blocks are sent in chunks, which HTTP/1.0 does not have: ask with HTTP/1.1.")
        asked = parse_wanted(parse_object(await read_json(request, idle_seconds=self.body_timeout)))
        opened = await block_reads.open_blocks(self.services, request[CALLER], request.match_info["image_id"])
        try:
            wanted = parse_ranges(asked, blocks=opened.reader.blocks, most=MOST_BLOCKS_SENT)
            response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE})
            response.enable_chunked_encoding()
            body = _stream(opened.reader, wanted)
            return await send_body(request, response, body, length=None, idle_seconds=self.body_timeout)
        finally:
            opened.reader.close()


async def _stream(reader: BlockReader, wanted: Sequence[NumberRange]) -> AsyncGenerator[bytes, None]:
    async with aclosing(reader.entries(wanted)) as batches:
        async for batch in batches:
            parts: list[bytes | memoryview] = []
            for item in batch:
                if isinstance(item, SentHoles):
                    parts.append(holes_item(item.numbers))
                else:
                    number, entry = item
                    parts += (block_head(number, len(entry)), entry)
            yield b"".join(parts)


def _summary_document(image_id: str, found: ManifestSummary) -> dict[str, object]:
    return {
        "image": image_id,
        "size": found.size,
        "kind": "fixed" if found.is_fixed else "content-defined",
        "block_size": found.block_size,
        "blocks": found.blocks,
        "data_blocks": found.data_blocks,
        "manifest": found.digest.hex(),
        "manifest_bytes": found.bytes,
    }


def _json(document: dict[str, object], headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json", headers=headers)
