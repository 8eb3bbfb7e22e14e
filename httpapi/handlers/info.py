"""What this service has to offer beside images: ways of import, and what a project uses of its quotas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from catalog.model.quota import NAMES
from catalog.usecases.quotas import usage_of
from httpapi.body import refuse_body
from httpapi.caller import CALLER
from httpapi.wire.usage import Used, usage_document

if TYPE_CHECKING:
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class InfoHandlers:
    """The paths below `/v2/info`."""

    services: Services

    async def imports(self, request: web.Request) -> web.Response:
        """The ways of import; clients ask before they try one."""
        refuse_body(request)
        told = {
            "description": "Ways of import that this service has.",
            "type": "array",
            "value": [*self.services.import_methods],
        }
        return web.json_response({"import-methods": told})

    async def usage(self, request: web.Request) -> web.Response:
        """What the caller's project uses of each quota, and how much it may; nothing where it has no quota at all."""
        refuse_body(request)
        quota, usage = await usage_of(self.services, request[CALLER])
        found = {} if quota.is_off else {name: Used(usage.used(name), quota.limit(name)) for name in NAMES}
        return web.json_response(usage_document(found))
