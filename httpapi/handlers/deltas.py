"""Delta uploads: begin, send blocks, see what has arrived, commit, give up. DELTA.md is the contract."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from blockstore.sent_blocks import longest_entry
from catalog.usecases import delta_begin, delta_commit, deltas
from catalog.usecases.deltas import Named
from httpapi.access_log import ACCESS_LINE
from httpapi.body import check_encoding, pieces, read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import document_of, wire_time
from httpapi.proxies import base_url
from httpapi.request_id import REQUEST_ID
from httpapi.wire.block_stream import LARGEST_REQUEST, MEDIA_TYPE, BlockStreamDecoder
from httpapi.wire.deltas import MOST_RANGES, Arrived, DeltaRecord, parse_commit, parse_new_delta
from httpapi.wire.errors import BodyTooLarge, UnsupportedBody
from httpapi.wire.json_body import parse_object
from httpapi.wire.queries import whole_number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from catalog.delta_ports import Part
    from catalog.model.delta import Delta
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class DeltasHandlers:
    """The verbs on delta uploads; `body_timeout` is how many seconds a body may stand still."""

    services: Services
    body_timeout: float

    async def begin(self, request: web.Request) -> web.Response:
        """201 with the new upload; Location is absolute."""
        new = parse_new_delta(parse_object(await read_json(request, idle_seconds=self.body_timeout)))
        image_id = request.match_info["image_id"]
        delta = await delta_begin.begin(
            self.services, request[CALLER], image_id, size=new.size, base=new.base, block_size=new.block_size
        )
        record = _record(delta)
        response = _json(Arrived([], 0).to_json(record), status=201)
        response.headers["Location"] = base_url(request) + record.path
        return response

    async def list(self, request: web.Request) -> web.Response:
        """The upload under way, if there is one."""
        refuse_body(request)
        found = await deltas.of_image(self.services, request[CALLER], request.match_info["image_id"])
        return _json({"deltas": [_record(delta).to_json() for delta in found]})

    async def show(self, request: web.Request) -> web.Response:
        """The upload and a page of what has arrived."""
        refuse_body(request)
        start = whole_number(request.query.get("from"), "from", 0)
        delta, found = await deltas.show(self.services, _named(request), start=start, most=MOST_RANGES)
        return _json(Arrived(found.ranges, found.blocks, found.next).to_json(_record(delta)))

    async def put(self, request: web.Request) -> web.Response:
        """204 when all blocks of the body are durable."""
        if "Content-Type" not in request.headers or request.content_type != MEDIA_TYPE:
            raise UnsupportedBody(f"Blocks are sent with Content-Type: {MEDIA_TYPE}.")
        check_encoding(request)
        if (request.content_length or 0) > LARGEST_REQUEST:
            raise _too_large()
        await deltas.take(self.services, _named(request), lambda delta: self._parts(request, delta))
        return web.Response(status=204)

    async def commit(self, request: web.Request) -> web.Response:
        """200 with the image."""
        expected = None
        if request.body_exists:
            expected = parse_commit(parse_object(await read_json(request, idle_seconds=self.body_timeout)))
        image = await delta_commit.commit(
            self.services, _named(request), expected=expected, request_id=request[REQUEST_ID]
        )
        caller = request[CALLER]
        return _json(document_of(self.services, caller, image, self.services.protection.rights(caller)))

    async def delete(self, request: web.Request) -> web.Response:
        """204; the image is queued again."""
        refuse_body(request)
        await deltas.give_up(self.services, _named(request))
        return web.Response(status=204)

    async def _parts(self, request: web.Request, delta: Delta) -> AsyncGenerator[Part, None]:
        blocks = -(-delta.size // delta.block_size)
        decoder = BlockStreamDecoder(blocks=blocks, longest=longest_entry(delta.block_size), held=True)
        line, received = request[ACCESS_LINE], 0
        async with aclosing(pieces(request, idle_seconds=self.body_timeout)) as body:
            async for piece in body:
                line.received += len(piece)
                received += len(piece)
                if received > LARGEST_REQUEST:
                    raise _too_large()
                for part in decoder.feed(piece):
                    yield part
        decoder.finish()


def _named(request: web.Request) -> Named:
    return Named(request[CALLER], request.match_info["image_id"], request.match_info["upload_id"])


def _record(delta: Delta) -> DeltaRecord:
    return DeltaRecord(
        id=delta.id,
        image=delta.image_id,
        size=delta.size,
        block_size=delta.block_size,
        base=delta.base_image,
        expires_at=wire_time(delta.expires_at),
    )


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"A request for blocks may have {LARGEST_REQUEST} bytes; send the others in another one.")


def _json(document: dict[str, object], *, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), status=status, content_type="application/json")
