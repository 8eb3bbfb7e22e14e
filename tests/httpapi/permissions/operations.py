"""The rows: every operation of the API, as a request on an image, or as a list that the image may stand in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpapi.wire.block_stream import MEDIA_TYPE
from tests.httpapi.permissions.table import Cell
from tests.httpapi.permissions.world import BLOCK, CALLERS, STATUSES, THERE, VISIBILITIES
from tests.kit.sent_deltas import held, item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.httpapi.permissions.world import World

_PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
_OCTETS = {"Content-Type": "application/octet-stream"}
_BLOCKS = {"Content-Type": MEDIA_TYPE}
_THERE = {"url": THERE, "metadata": {}}
_OPAQUE = {"url": "rbd://pool/image/snap", "metadata": {}}
_NONE = "00000000000000000000000000000000"


@dataclass(frozen=True, slots=True)
class Operation:
    """A request on one image; what stands in braces, in the path and in the body, the world fills in.

    `also` tells it from others of the same route in the table. `body` is a document, bytes, or makes either.
    """

    route: str
    body: Callable[[str], object] | object = None
    headers: dict[str, str] | None = None
    also: str = ""

    @property
    def name(self) -> str:
        return f"{self.route} {self.also}".strip()

    async def cells(self, world: World) -> AsyncIterator[tuple[Cell, str]]:
        for visibility in VISIBILITIES:
            for status in STATUSES:
                for caller in CALLERS:
                    code, _ = await self.asked(world, world.ids[visibility, status], caller)
                    yield Cell(self.name, visibility, status, caller), str(code)

    async def asked(self, world: World, image_id: str, caller: str) -> tuple[int, str]:
        """The status and the text of the answer."""
        method, template = self.route.split(" ")
        body = self.body(image_id) if callable(self.body) else self.body
        return await world.ask(caller, method, self._path(world, template, image_id, caller), body, self.headers)

    def _path(self, world: World, template: str, image_id: str, caller: str) -> str:
        if self.also.startswith("into an own one"):
            begun, upload = world.own_uploads[caller]
            chosen = {"image_id": begun if "upload_id" in template else world.own[caller], "upload_id": upload}
        else:
            chosen = {"image_id": image_id, "upload_id": world.uploads.get(image_id, _NONE)}
        chosen |= {"member_id": "clay", "tag": "tag", "store": "fast", "id": world.tasks.get(image_id, image_id)}
        path = template.format_map(chosen)
        if self.also.endswith("of choice"):
            path += "?prefer=fast"
        return f"{path}?since={image_id}" if path.endswith("/changes") else path


@dataclass(frozen=True, slots=True)
class Listing:
    """A list, and whether the image stands in it: yes, no, or the status of the refusal."""

    route: str
    query: str = ""
    key: str = "images"

    @property
    def name(self) -> str:
        return self.route + self.query

    async def cells(self, world: World) -> AsyncIterator[tuple[Cell, str]]:
        limit = ("&" if self.query else "?") + "limit=1000"
        path = self.name.removeprefix("GET ") + limit
        told = {caller: await world.ask(caller, "GET", path) for caller in CALLERS}
        for visibility in VISIBILITIES:
            for status in STATUSES:
                image_id = world.ids[visibility, status]
                wanted = world.tasks[image_id] if self.key == "tasks" else image_id
                for caller, (code, text) in told.items():
                    listed = code == 200 and wanted in {each["id"] for each in json.loads(text)[self.key]}
                    answer = {True: "yes", False: "no"}[listed] if code == 200 else str(code)
                    yield Cell(self.name, visibility, status, caller), answer


def _patch(name: str, value: object) -> list[dict[str, object]]:
    return [{"op": "replace", "path": f"/{name}", "value": value}]


def _child(image_id: str) -> object:
    return {"parent_image_ref": image_id}


def _over(image_id: str) -> object:
    return {"size": BLOCK, "base": image_id}


_IMAGE = "/v2/images/{image_id}"
_UPLOAD = f"{_IMAGE}/deltas/{{upload_id}}"
_MEMBER = f"{_IMAGE}/members/{{member_id}}"

OPERATIONS: tuple[Operation | Listing, ...] = (
    Listing("GET /v2/images"),
    Listing("GET /v2/images", "?visibility=all&member_status=all"),
    Listing("GET /v2/images", "?visibility=shared&member_status=pending"),
    Listing("GET /v2/images", "?visibility=community"),
    Listing("GET /v2/lineage", "?member_status=rejected", "lineage"),
    Listing("GET /v2/deleted", key="deleted"),
    Listing("GET /v2/tasks", key="tasks"),
    Operation(f"GET {_IMAGE}"),
    Operation(f"PATCH {_IMAGE}", _patch("name", "new"), _PATCH, "a name"),
    Operation(f"PATCH {_IMAGE}", [], _PATCH, "nothing"),
    Operation(f"PATCH {_IMAGE}", _patch("visibility", "public"), _PATCH, "to public"),
    Operation(f"PATCH {_IMAGE}", _patch("visibility", "community"), _PATCH, "to community"),
    Operation(f"PATCH {_IMAGE}", _patch("visibility", "shared"), _PATCH, "to shared"),
    Operation(f"PATCH {_IMAGE}", _patch("owner", "wood"), _PATCH, "to another owner"),
    Operation(f"PUT {_IMAGE}/tags/{{tag}}"),
    Operation(f"DELETE {_IMAGE}/tags/{{tag}}"),
    Operation(f"POST {_IMAGE}/actions/undelete"),
    Operation(f"POST {_IMAGE}/actions/deactivate"),
    Operation(f"POST {_IMAGE}/actions/reactivate"),
    Operation(f"POST {_IMAGE}/actions/coalesce"),
    Operation(f"POST {_IMAGE}/actions/sign"),
    Operation(f"POST {_IMAGE}/actions/convert", {"disk_format": "qcow2"}),
    Operation(f"GET {_IMAGE}/members"),
    Operation(f"POST {_IMAGE}/members", {"member": "salt"}),
    Operation(f"GET {_MEMBER}", also="(of the project that accepted)"),
    Operation(f"PUT {_MEMBER}", {"status": "rejected"}, also="(of the project that accepted)"),
    Operation(f"DELETE {_MEMBER}", also="(of the project that accepted)"),
    Operation(f"PATCH {_IMAGE}", [{"op": "add", "path": "/locations/-", "value": _THERE}], _PATCH, "a location"),
    Operation(f"PATCH {_IMAGE}", [{"op": "add", "path": "/locations/-", "value": _OPAQUE}], _PATCH, "an opaque one"),
    Operation(f"PATCH {_IMAGE}", [{"op": "remove", "path": "/locations/1"}], _PATCH, "a location less"),
    Operation(f"GET {_IMAGE}/locations"),
    Operation(f"POST {_IMAGE}/locations", {"url": THERE}),
    Operation("DELETE /v2/stores/{store}/{image_id}"),
    Operation(f"GET {_IMAGE}/file"),
    Operation(f"GET {_IMAGE}/file", also="from a store of choice"),
    Operation(f"HEAD {_IMAGE}/file"),
    Operation(f"PUT {_IMAGE}/file", b"bytes", _OCTETS),
    Operation(f"GET {_IMAGE}/manifest"),
    Operation(f"GET {_IMAGE}/changes"),
    Operation(f"POST {_IMAGE}/blocks", {"blocks": [[0, 1]]}),
    Operation(f"PUT {_IMAGE}/stage", b"bytes", _OCTETS),
    Operation(f"POST {_IMAGE}/import", {"method": {"name": "glance-direct"}}),
    Operation("POST /v2/tasks", {"type": "import", "input": {}}),
    Operation(f"GET {_IMAGE}/tasks"),
    Operation("GET /v2/tasks/{id}"),
    Operation("POST /v2/tasks/{id}/actions/cancel"),
    Operation("POST /v2/images", _child, also="as its child"),
    Operation(f"POST {_IMAGE}/deltas", _over, also="into an own one, over this one"),
    Operation(f"PUT {_UPLOAD}/blocks", lambda image_id: held(0, 1, image_id, 0), _BLOCKS, "into an own one, of this"),
    Operation(f"GET {_IMAGE}/deltas"),
    Operation(f"POST {_IMAGE}/deltas", {"size": BLOCK}),
    Operation(f"GET {_UPLOAD}"),
    Operation(f"PUT {_UPLOAD}/blocks", item(0, b"x" * BLOCK), _BLOCKS),
    # Of more blocks than there are: one that succeeded would take the journal with it.
    Operation(f"POST {_UPLOAD}/commit", {"blocks": 99}),
    # The last ones: with them goes an upload's journal, which no transaction brings back.
    Operation(f"DELETE {_UPLOAD}"),
    Operation(f"DELETE {_IMAGE}"),
)
