"""Who asks, and the images that are asked for: one for each visibility and status, all of them shared with three."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from blockstore.store import BlockStore
from catalog.model.caller import Caller
from catalog.model.image import Status, Visibility
from catalog.model.new_image import NewImage
from catalog.model.task import NOBODY, image_task
from catalog.store_ports import StoreInfo
from catalog.stores.blocks import StoredBlocks
from catalog.stores.opaque import OpaqueStore
from catalog.stores.set import StoreSet
from catalog.usecases import delta_begin, image_data, images, members
from catalog.usecases.services import Services
from httpapi.app import build_app
from httpapi.connection import connection_runner
from httpapi.wire.errors import Unauthenticated
from tests.kit.image_service import SMALL, pieces
from tests.kit.memory_keys import MemoryKeys
from tests.kit.memory_store import MemoryStore
from tests.kit.new_catalog import new_catalog
from tests.kit.pieces_source import PiecesSource
from tests.kit.several_stores import copied
from tests.kit.undone_database import UndoneDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from catalog.ports import UnitOfWork
    from httpapi.identity.contract import Arrival

BLOCK = 4096
DATA = random.Random(11).randbytes(2 * BLOCK)
THERE = "memory://web/theirs"
"""A URL at which the bytes of each image lie, too."""
VISIBILITIES = tuple(sorted(Visibility))
STATUSES = ("queued", "saving", "active", "deactivated", "deleted")
_PEOPLE = {
    "owner": ("stone", "member"),
    "reader": ("stone", "reader"),
    "other": ("wood", "member"),
    "accepted": ("clay", "member"),
    "pending": ("sand", "member"),
    "rejected": ("lime", "member"),
    "admin": ("house", "admin"),
    "service": ("services", "service"),
}
CALLERS = (*_PEOPLE, "anonymous")
"""The columns: `reader` is one of the owner's project, `accepted` … are members of projects that said so."""


def caller_of(name: str) -> Caller:
    project, role = _PEOPLE[name]
    return Caller(name, project, frozenset({role}))


OWNER, ADMIN = caller_of("owner"), caller_of("admin")


class Named:
    """An identity that takes callers at their word."""

    describe = "by name"
    reaches_beyond_loopback = False
    takes_passwords = False

    def admit(self, arrival: Arrival) -> None:
        pass

    async def identify(self, arrival: Arrival) -> Caller:
        name = arrival.headers.get("x-caller", "anonymous")
        if name == "anonymous":
            raise Unauthenticated("Say who you are.", challenge="Basic")
        return caller_of(name)


@dataclass(slots=True)
class World:
    """The images by visibility and status; each one's task and delta upload; an own image and upload of each caller."""

    database: UndoneDatabase
    url: str
    session: aiohttp.ClientSession
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    own_uploads: dict[str, tuple[str, str]] = field(default_factory=dict)

    async def ask(
        self, caller: str, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """One request, undone when it is answered: its status and text."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"x-caller": caller} | dict(headers or {})
        with self.database.undone():
            async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
                return answer.status, (await answer.read()).decode("latin-1")


@contextlib.asynccontextmanager
async def world(root: Path) -> AsyncIterator[World]:
    """A world over a real store, served in this loop."""
    store = BlockStore.open(root, SMALL)
    new_catalog(root / "catalog.sqlite").close()
    database = UndoneDatabase(root / "catalog.sqlite")
    theirs, ceph = MemoryStore("web", kind="http", read_only=True), OpaqueStore(StoreInfo("ceph", "opaque"), ["rbd"])
    theirs.copies[THERE] = DATA
    services = Services(
        database,
        StoredBlocks(store),
        block_size=BLOCK,
        keep_deleted=3600.0,
        stores=StoreSet([MemoryStore("fast"), theirs, ceph]),
        show_locations=True,
        url_keys=MemoryKeys(),
    )
    app = build_app(services, Named(), body_timeout=20)
    runner = connection_runner(app, shutdown_seconds=1.0, header_timeout=20, body_timeout=20)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session:
            made = World(database, f"http://127.0.0.1:{runner.addresses[0][1]}", session)
            await _fill(services, made)
            yield made
    finally:
        await runner.cleanup()
        database.close()
        store.close()


async def _fill(services: Services, made: World) -> None:
    for visibility in VISIBILITIES:
        for status in STATUSES:
            made.ids[visibility, status] = await _image(services, made, visibility, status)
    for name, (project, _) in _PEOPLE.items():
        made.own[name] = await _new(services, project, "own of " + name)
        begun = await _new(services, project, "begun by " + name)
        delta = await delta_begin.begin(services, ADMIN, begun, size=2 * BLOCK, base=None, block_size=BLOCK)
        made.own_uploads[name] = begun, delta.id
    made.own["anonymous"], made.own_uploads["anonymous"] = made.own["owner"], made.own_uploads["owner"]


async def _new(services: Services, project: str, name: str) -> str:
    wanted = NewImage(
        name=name, owner=project, visibility=Visibility.PRIVATE, disk_format="raw", container_format="bare"
    )
    return (await images.create(services, ADMIN, wanted)).id


async def _image(services: Services, made: World, visibility: str, status: str) -> str:
    image_id = await _new(services, OWNER.project, f"{visibility} {status}")
    await _set(services, image_id, visibility=Visibility.SHARED, tags=frozenset({"tag"}))
    for name in ("accepted", "pending", "rejected"):
        member = caller_of(name)
        await members.add(services, OWNER, image_id, member.project)
        await members.answer(services, member, image_id, member.project, name)
    task = image_task("hash", image_id=image_id, owner=OWNER.project, by=NOBODY, at=services.clock())
    await services.database.write(lambda uow: uow.tasks.add(task))
    made.tasks[image_id] = task.id
    if status == "saving":
        delta = await delta_begin.begin(services, OWNER, image_id, size=2 * BLOCK, base=None, block_size=BLOCK)
        made.uploads[image_id] = delta.id
    elif status != "queued":
        await image_data.upload(services, OWNER, image_id, PiecesSource(pieces(DATA, 1000)), expected=len(DATA))
        fast = services.stores.get("fast")
        assert fast is not None
        await copied(services, image_id, fast)
    if status == "deactivated":
        await _set(services, image_id, status=Status.DEACTIVATED)
    await _set(services, image_id, visibility=Visibility(visibility))
    if status == "deleted":
        await images.delete(services, OWNER, image_id)
    return image_id


async def _set(services: Services, image_id: str, **attributes: object) -> None:
    def change(uow: UnitOfWork) -> None:
        image = uow.images.get(image_id)
        assert image is not None
        uow.images.save(replace(image, **attributes), expect=image.status)  # type: ignore[arg-type]  # as given above

    await services.database.write(change)
