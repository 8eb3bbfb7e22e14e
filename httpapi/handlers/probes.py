"""What watches the service: is it ready, and how is it doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from catalog.model.errors import Forbidden
from httpapi.body import refuse_body
from httpapi.caller import CALLER
from httpapi.middlewares import IN_FLIGHT

if TYPE_CHECKING:
    from httpapi.health import Check, Health
    from httpapi.metrics.scrape import Scrape


_RETRY_SECONDS: Final = "5"


@dataclass(frozen=True, slots=True)
class ProbeHandlers:
    """`/ready` and `/metrics`; `metrics` is the setting: admin, open or off."""

    health: Health
    scrape: Scrape
    metrics: str = "admin"

    async def ready(self, request: web.Request) -> web.Response:
        """200 when requests should be sent here, else 503; either way each check with its outcome."""
        refuse_body(request)
        report = await self.health.check(stopping=request.app[IN_FLIGHT].stopping)
        place = self.scrape.place
        document: dict[str, object] = {"ready": report.ready, "checks": [_document(check) for check in report.checks]}
        if place.of > 1:
            document["worker"] = f"{place.number}/{place.of}"
        headers = {"Cache-Control": "no-store"} | ({} if report.ready else {"Retry-After": _RETRY_SECONDS})
        return web.json_response(document, status=200 if report.ready else 503, headers=headers)

    async def figures(self, request: web.Request) -> web.Response:
        """All figures, as Prometheus wants them; for whoever the setting lets."""
        refuse_body(request)
        if self.metrics == "admin" and not request[CALLER].is_admin:
            raise Forbidden('Only administrators may read the metrics; the setting metrics = "open" lets everybody.')
        body, kind = await self.scrape.text(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})


def _document(check: Check) -> dict[str, str]:
    document = {"name": check.name, "state": check.state.value}
    return document | {"detail": check.detail} if check.detail else document
