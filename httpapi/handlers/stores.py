"""Which stores there are; nothing of it where none were configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.usecases import stores
from httpapi.body import refuse_body
from httpapi.caller import CALLER
from httpapi.wire.stores import StoreRecord, stores_document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from catalog.store_ports import StoreInfo
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class StoresHandlers:
    """The paths `/v2/info/stores`, with what clients may choose from, and `/detail`, with what operators look at."""

    services: Services

    async def list(self, request: web.Request) -> web.Response:
        """Names and descriptions."""
        refuse_body(request)
        return _answer(stores.list_stores(self.services), detail=False)

    async def detail(self, request: web.Request) -> web.Response:
        """With types, weights and where each one is."""
        refuse_body(request)
        return _answer(stores.list_stores_in_detail(self.services, request[CALLER]), detail=True)


def _answer(infos: Iterable[StoreInfo], *, detail: bool) -> web.Response:
    return web.json_response(stores_document(map(_record, infos), detail=detail))


def _record(info: StoreInfo) -> StoreRecord:
    return StoreRecord(
        id=info.name,
        description=info.description,
        default=info.default,
        read_only=info.read_only,
        type=info.kind,
        weight=info.weight,
        properties=info.properties,
    )
