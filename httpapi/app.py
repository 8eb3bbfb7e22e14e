"""The application: routes, middlewares, and nothing that opens a file or a port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from httpapi.identity.contract import Distant
from httpapi.middlewares import IDENTITY, IN_FLIGHT, InFlight, admit, answer_errors, observe, show_errors, stamp
from httpapi.proxies import WAY_IN, WayIn
from httpapi.routes import add_routes, tables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from catalog.usecases.services import Services
    from httpapi.handlers.probes import ProbeHandlers
    from httpapi.identity.contract import Identity


def build_app(
    services: Services,
    identity: Identity,
    *,
    body_timeout: float,
    way_in: WayIn | None = None,
    probes: ProbeHandlers | None = None,
) -> web.Application:
    """The application over these services; `body_timeout` in seconds. Call it inside a running loop."""
    app = web.Application(middlewares=[observe, show_errors, answer_errors, admit])
    app[IN_FLIGHT] = InFlight()
    app[IDENTITY] = identity
    app[WAY_IN] = way_in or WayIn()
    app.on_response_prepare.append(stamp)
    if isinstance(identity, Distant):
        app.on_cleanup.append(_leaving(identity))
    found = tables(services, body_timeout=body_timeout, probes=probes)
    add_routes(app, found, identity, services.rules, stores=services.stores.several)
    return app


def _leaving(identity: Distant) -> Callable[[web.Application], Awaitable[None]]:
    async def leave(_: web.Application) -> None:
        await identity.close()

    return leave
