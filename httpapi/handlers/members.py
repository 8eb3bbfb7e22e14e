"""Members: which projects an image is shared with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.usecases import members
from httpapi.body import read_json, refuse_body
from httpapi.caller import CALLER
from httpapi.handlers.image_record import wire_time
from httpapi.wire.json_body import parse_object
from httpapi.wire.members import MemberRecord, members_json, text_of

if TYPE_CHECKING:
    from catalog.model.member import Member
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class MembersHandlers:
    """The verbs on an image's members; `body_timeout` is how many seconds a body may stand still."""

    services: Services
    body_timeout: float

    async def add(self, request: web.Request) -> web.Response:
        """The new member; 200, as the reference has it."""
        project = await self._said(request, "member")
        return _json(await members.add(self.services, request[CALLER], request.match_info["image_id"], project))

    async def list(self, request: web.Request) -> web.Response:
        """Those that the caller may know of."""
        refuse_body(request)
        found = await members.list_members(self.services, request[CALLER], request.match_info["image_id"])
        return _document(members_json([record_of(each) for each in found]))

    async def show(self, request: web.Request) -> web.Response:
        """One member."""
        refuse_body(request)
        return _json(await members.show(self.services, request[CALLER], *_named(request)))

    async def answer(self, request: web.Request) -> web.Response:
        """The member, with what it says to the image from now on."""
        said = await self._said(request, "status")
        return _json(await members.answer(self.services, request[CALLER], *_named(request), said))

    async def remove(self, request: web.Request) -> web.Response:
        """The image is not shared with it any more: 204."""
        refuse_body(request)
        await members.remove(self.services, request[CALLER], *_named(request))
        return web.Response(status=204)

    async def _said(self, request: web.Request, key: str) -> str:
        return text_of(parse_object(await read_json(request, idle_seconds=self.body_timeout)), key)


def record_of(member: Member) -> MemberRecord:
    """The record of a member."""
    return MemberRecord(
        image_id=member.image_id,
        member_id=member.id,
        status=member.status.value,
        created_at=wire_time(member.created_at),
        updated_at=wire_time(member.updated_at),
    )


def _named(request: web.Request) -> tuple[str, str]:
    return request.match_info["image_id"], request.match_info["member_id"]


def _json(member: Member) -> web.Response:
    return _document(record_of(member).to_json())


def _document(document: object) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(body=body, content_type="application/json")
