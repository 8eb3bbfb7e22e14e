"""The rows of the table for metadata definitions, and the namespaces that they are asked of."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from catalog.model.metadef import Kind
from catalog.usecases import namespaces
from catalog.usecases.services import Services
from httpapi.app import build_app
from httpapi.connection import connection_runner
from tests.httpapi.permissions.world import Named, World, caller_of
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog
from tests.kit.undone_database import UndoneDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

CALLERS = ("owner", "reader", "other", "admin", "service", "anonymous")
NAMESPACES = {
    f"{shown} {kept}".strip(): {"namespace": f"{shown}-{kept}", "visibility": shown, "protected": kept == "protected"}
    for shown in ("public", "private")
    for kept in ("", "protected")
}
"""What is asked of: each of the project of `owner` and `reader`."""
WIDTH = 28


@dataclass(frozen=True, slots=True)
class Definition:
    """A request on one namespace, whose name stands in the path where braces do; or a list that it may stand in."""

    route: str
    body: object = None
    also: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.route} {self.also}".strip()

    async def asked(self, world: World, namespace: str, caller: str) -> str:
        """The status; of a list whether it stands in it."""
        method, template = self.route.split(" ")
        path = template.format(namespace=namespace, name=_PART.get(template.split("/")[-2], ""))
        body = self.body.format(namespace) if isinstance(self.body, str) else self.body
        code, text = await world.ask(caller, method, path, body, dict(self.headers))
        if code == 200 and path == _ALL:
            listed = namespace in {each["namespace"] for each in json.loads(text)["namespaces"]}
            return "yes" if listed else "no"
        return str(code)


_ALL = "/v2/metadefs/namespaces"
_ONE = f"{_ALL}/{{namespace}}"
_PROPERTY = {"title": "Title", "type": "string"}
_PART = {"objects": "object", "properties": "property", "tags": "tag", "resource_types": "type"}
"""The name of the one that each namespace has, by its kind."""
_SAID: Mapping[Kind, dict[str, object]] = {
    Kind.OBJECTS: {"name": "new"},
    Kind.PROPERTIES: {"name": "new", **_PROPERTY},
    Kind.TAGS: {"name": "new"},
    Kind.ASSOCIATIONS: {"name": "new"},
}
HAS = {
    "objects": [{"name": "object"}],
    "properties": {"property": _PROPERTY},
    "tags": [{"name": "tag"}],
    "resource_type_associations": [{"name": "type"}],
}


def _of(kind: Kind) -> list[Definition]:
    together, single = f"{_ONE}/{kind}", f"{_ONE}/{kind}/{{name}}"
    said = _SAID[kind]
    rows = [Definition(f"GET {together}")]
    if kind is Kind.TAGS:
        rows += [
            Definition(f"POST {together}", {"tags": [said]}),
            Definition(f"POST {together}", {"tags": [said]}, "beside the others", (("X-Openstack-Append", "True"),)),
            Definition(f"POST {single}", also="(that it has)"),
        ]
    else:
        rows.append(Definition(f"POST {together}", said))
    if kind is not Kind.ASSOCIATIONS:
        rows += [Definition(f"DELETE {together}"), Definition(f"GET {single}"), Definition(f"PUT {single}", said)]
    return [*rows, Definition(f"DELETE {single}")]


DEFINITIONS: tuple[Definition, ...] = (
    Definition("GET /v2/metadefs/resource_types"),
    Definition(f"GET {_ALL}"),
    Definition(f"POST {_ALL}", {"namespace": "new"}),
    Definition(f"POST {_ALL}", {"namespace": "new", "owner": "stone"}, "for the project"),
    Definition(f"GET {_ONE}"),
    Definition(f"PUT {_ONE}", {"namespace": "new", "owner": "stone"}),
    Definition(f"PUT {_ONE}", {"namespace": "new", "owner": "wood"}, "to another owner"),
    *(row for kind in Kind for row in _of(kind)),
    Definition(f"DELETE {_ONE}"),
)


async def table_of(world: World) -> str:
    """The table, as the service answers."""
    lines = ["#" + " " * (WIDTH + 1) + "| " + "".join(caller.ljust(11) for caller in CALLERS).rstrip()]
    for definition in DEFINITIONS:
        lines += ["", definition.name]
        rows: dict[str, list[str]] = {}
        for title, said in NAMESPACES.items():
            told = [await definition.asked(world, str(said["namespace"]), caller) for caller in CALLERS]
            rows.setdefault("".join(answer.ljust(11) for answer in told).rstrip(), []).append(title)
        lines += [
            f"  {'any' if len(same) == len(NAMESPACES) else ', '.join(same):{WIDTH}}| {told}"
            for told, same in rows.items()
        ]
    return "\n".join(lines) + "\n"


@contextlib.asynccontextmanager
async def world(root: Path) -> AsyncIterator[World]:
    """A service with these namespaces, served in this loop; each request is undone when it is answered."""
    new_catalog(root / "catalog.sqlite").close()
    database = UndoneDatabase(root / "catalog.sqlite")
    services = Services(database, MemoryBlocks())
    app = build_app(services, Named(), body_timeout=20)
    runner = connection_runner(app, shutdown_seconds=1.0, header_timeout=20, body_timeout=20)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session:
            for said in NAMESPACES.values():
                await namespaces.create(services, caller_of("admin"), {**said, **HAS, "owner": "stone"})
            yield World(database, f"http://127.0.0.1:{runner.addresses[0][1]}", session)
    finally:
        await runner.cleanup()
        database.close()
