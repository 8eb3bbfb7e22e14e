"""Every route in one table: path → verb → handler. A path that is here with another verb is 405, any other 404."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.access_log import without_tickets
from httpapi.body import later
from httpapi.caller import with_caller
from httpapi.error_table import METHOD_NOT_ALLOWED, NO_SUCH_ROUTE, error_response
from httpapi.handlers import metadefs, versions
from httpapi.handlers.deleted import DeletedHandlers
from httpapi.handlers.deltas import DeltasHandlers
from httpapi.handlers.image_blocks import ImageBlocksHandlers
from httpapi.handlers.image_data import ImageDataHandlers
from httpapi.handlers.images import ImagesHandlers
from httpapi.handlers.imports import ImportsHandlers
from httpapi.handlers.info import InfoHandlers
from httpapi.handlers.lineage import LineageHandlers
from httpapi.handlers.locations import LocationsHandlers
from httpapi.handlers.members import MembersHandlers
from httpapi.handlers.openapi import OpenApiHandlers
from httpapi.handlers.probes import ProbeHandlers
from httpapi.handlers.schemas import schema_handlers
from httpapi.handlers.stores import StoresHandlers
from httpapi.handlers.tags import TagsHandlers
from httpapi.handlers.tasks import TasksHandlers
from httpapi.handlers.tickets import TicketHandlers
from httpapi.health import Health
from httpapi.metrics.scrape import Scrape
from httpapi.wire.tickets import SIGNED
from httpapi.wire.versions import STORES, advertised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from catalog.rules import Rules
    from catalog.usecases.services import Services
    from httpapi.caller import Handler
    from httpapi.identity.contract import Identity

# Every minor version is the same service.
V2 = r"/{version:v2(?:\.[0-9]+)?}"
# What looks like a version and is none of ours: clients that ask for it get the list to choose from.
UNKNOWN_VERSION = r"/{unknown:v(?!(?:ersions|2|2\.[0-9]+)(?:/|$))[^/]*}"
# By itself aiohttp takes no braces for a part of a path, which tags and names may have, and a dot is no line's end.
_PART: Final = re.compile(r"\{(\w+)\}")
_ANY_PART: Final = r"{\1:[^/]+}"
_ANY_TAIL: Final = "/{tail:(?s:.*)}"


@dataclass(frozen=True, slots=True)
class RouteTables:
    """Routes that anybody who is let in may call, and routes that need to know the caller.

    Those of the second that are in `ticketed`, too, are read by cookies as well: by its handler with a ticket.
    """

    open: Mapping[str, Mapping[str, Handler]]
    identified: Mapping[str, Mapping[str, Handler]]
    ticketed: Mapping[str, Mapping[str, Handler]]


def tables(services: Services, *, body_timeout: float, probes: ProbeHandlers | None = None) -> RouteTables:
    """Both tables, over these services; `probes` watch more than these where there is a data directory."""
    probes = probes or ProbeHandlers(Health(services), Scrape(services))
    images = ImagesHandlers(services, body_timeout)
    data = ImageDataHandlers(services, body_timeout)
    locations = LocationsHandlers(services, body_timeout)
    deltas = DeltasHandlers(services, body_timeout)
    blocks = ImageBlocksHandlers(services, body_timeout)
    tasks = TasksHandlers(services, body_timeout)
    tags = TagsHandlers(services)
    lineage = LineageHandlers(services)
    members = MembersHandlers(services, body_timeout)
    deleted = DeletedHandlers(services)
    info = InfoHandlers(services)
    stores = StoresHandlers(services)
    imports = ImportsHandlers(services, body_timeout)
    tickets = TicketHandlers(services, body_timeout)
    discovery: Mapping[str, Handler] = {"GET": versions.versions, "HEAD": versions.versions}
    openapi = OpenApiHandlers()
    found = RouteTables(
        open={
            "/": {"GET": versions.choices, "HEAD": versions.choices},
            "/versions": discovery,
            V2: discovery,
            f"{V2}/": discovery,
            "/openapi.json": {"GET": openapi.show, "HEAD": openapi.show},
            "/healthcheck": {"GET": versions.healthcheck, "HEAD": versions.healthcheck},
            "/ready": {"GET": probes.ready, "HEAD": probes.ready},
            # Who has the URL is the caller.
            f"{SIGNED}/{{ticket}}/{{file_name}}": {"GET": tickets.get, "HEAD": tickets.head},
            **({"/metrics": {"GET": probes.figures}} if probes.metrics == "open" else {}),
        },
        identified={
            **({"/metrics": {"GET": probes.figures}} if probes.metrics == "admin" else {}),
            f"{V2}/images": {"GET": images.list, "POST": images.create},
            f"{V2}/images/{{image_id}}": {"GET": images.show, "PATCH": images.patch, "DELETE": images.delete},
            f"{V2}/images/{{image_id}}/file": {"GET": data.get, "HEAD": data.head, "PUT": data.put},
            f"{V2}/images/{{image_id}}/locations": {"GET": locations.list, "POST": locations.add},
            f"{V2}/stores/{{store}}/{{image_id}}": {"DELETE": locations.delete_from_store},
            f"{V2}/images/{{image_id}}/members": {"GET": members.list, "POST": members.add},
            f"{V2}/images/{{image_id}}/members/{{member_id}}": {
                "GET": members.show,
                "PUT": members.answer,
                "DELETE": members.remove,
            },
            f"{V2}/images/{{image_id}}/tags/{{tag}}": {"PUT": tags.put, "DELETE": tags.delete},
            f"{V2}/images/{{image_id}}/actions/deactivate": {"POST": images.deactivate},
            f"{V2}/images/{{image_id}}/actions/reactivate": {"POST": images.reactivate},
            f"{V2}/images/{{image_id}}/manifest": {"GET": blocks.manifest},
            f"{V2}/images/{{image_id}}/changes": {"GET": blocks.changes},
            f"{V2}/images/{{image_id}}/blocks": {"POST": blocks.blocks},
            f"{V2}/images/{{image_id}}/deltas": {"GET": deltas.list, "POST": deltas.begin},
            f"{V2}/images/{{image_id}}/deltas/{{upload_id}}": {"GET": deltas.show, "DELETE": deltas.delete},
            f"{V2}/images/{{image_id}}/deltas/{{upload_id}}/blocks": {"PUT": deltas.put},
            f"{V2}/images/{{image_id}}/deltas/{{upload_id}}/commit": {"POST": deltas.commit},
            f"{V2}/images/{{image_id}}/stage": {"PUT": imports.stage},
            f"{V2}/images/{{image_id}}/import": {"POST": imports.start},
            f"{V2}/images/{{image_id}}/tasks": {"GET": tasks.of_image},
            f"{V2}/images/{{image_id}}/actions/sign": {"POST": tickets.sign},
            # Ours, like lineage: the reference knows no chains.
            f"{V2}/images/{{image_id}}/actions/coalesce": {"POST": tasks.coalesce},
            # Ours: the reference converts when it imports, never what is there.
            f"{V2}/images/{{image_id}}/actions/convert": {"POST": tasks.convert},
            f"{V2}/lineage": {"GET": lineage.list},
            # Ours: to the reference a deleted image is gone.
            f"{V2}/images/{{image_id}}/actions/undelete": {"POST": deleted.undelete},
            f"{V2}/deleted": {"GET": deleted.list},
            **{f"{V2}/schemas/{name}": {"GET": show} for name, show in schema_handlers(services.limits).items()},
            **{f"{V2}/metadefs{path}": verbs for path, verbs in metadefs.routes_of(services, body_timeout).items()},
            f"{V2}/info/import": {"GET": info.imports},
            f"{V2}/info/stores": {"GET": stores.list},
            f"{V2}/info/stores/detail": {"GET": stores.detail},
            f"{V2}/info/usage": {"GET": info.usage},
            f"{V2}/tasks": {"GET": tasks.list, "POST": tasks.create},
            f"{V2}/tasks/{{id}}": {"GET": tasks.show},
            # Ours: the reference has no way to end a task.
            f"{V2}/tasks/{{id}}/actions/cancel": {"POST": tasks.cancel},
        },
        ticketed={f"{V2}/images/{{image_id}}/file": {"GET": tickets.get_file, "HEAD": tickets.head_file}},
    )
    openapi.describe(found, services.limits)
    return found


def add_routes(
    app: web.Application, found: RouteTables, identity: Identity, rules: Rules | None, *, stores: bool
) -> None:
    """Put both tables into the application, with 405 for their other verbs and 404 for all other paths.

    `stores`: whether some are configured.
    """
    app[versions.MINORS] = advertised({*_below_v2(found.identified), *((STORES,) if stores else ())})
    for path, verbs in found.open.items():
        _add(app, path, verbs)
    for path, verbs in found.identified.items():
        by_cookie = found.ticketed.get(path, {})
        _add(app, path, {v: with_caller(identity, rules, each, by_cookie.get(v)) for v, each in verbs.items()})
    for path in (UNKNOWN_VERSION, UNKNOWN_VERSION + _ANY_TAIL):
        app.router.add_route("*", path, versions.choices, expect_handler=later)
    app.router.add_route("*", _ANY_TAIL, _nothing_here, expect_handler=later)


def _below_v2(routes: Mapping[str, Mapping[str, Handler]]) -> set[str]:
    return {f"{verb} {path.removeprefix(V2)}" for path, verbs in routes.items() for verb in verbs}


def _add(app: web.Application, path: str, verbs: Mapping[str, Handler]) -> None:
    resource = app.router.add_resource(_PART.sub(_ANY_PART, path))
    for verb, handler in verbs.items():
        resource.add_route(verb, handler, expect_handler=later)
    resource.add_route("*", _only(sorted(verbs)), expect_handler=later)


def _only(verbs: list[str]) -> Handler:
    allowed = ", ".join(verbs)

    async def refuse(request: web.Request) -> web.Response:
        message = f"{request.method} is not possible here; allowed: {allowed}."
        response = error_response(405, message, METHOD_NOT_ALLOWED)
        response.headers["Allow"] = allowed
        return response

    return refuse


async def _nothing_here(request: web.Request) -> web.Response:
    return error_response(404, f"There is nothing at {without_tickets(request.path)}.", NO_SUCH_ROUTE)
