"""Reservations, in any order of uploads that begin, grow, end, break or lose their process, and of what happens beside.

Two processes share one catalog. A killed one is never heard of by the sweep, and yet may go on afterwards, as one does
that was only stopped: then what it does must change nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from catalog.limits import Limits
from catalog.model.errors import CatalogError, QuotaExceeded
from catalog.model.image import Status
from catalog.model.quota import NAMES, Quota, Usage
from catalog.quota_ports import Said
from catalog.usecases import image_data, images
from catalog.usecases.deleted_images import undelete
from catalog.usecases.services import Services
from tests.catalog.cast import ADMIN, RAW
from tests.catalog.quota_scenes import NOTHING
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase

PROJECTS: Final = ("wall", "hedge")
QUOTA: Final = Quota(images=4, bytes=40, uploads=3, staged_bytes=33)
SIZES: Final = (*range(12), 20, 21, 33, 34, 40)


@dataclass(eq=False)
class Coming:
    """An upload that waits for its next piece, or is over."""

    process: int
    image: str
    expected: int | None
    sent: int = 0
    pieces: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    asks: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Image] | None = None

    async def read(self) -> AsyncIterator[bytes]:
        while True:
            self.asks.set()
            piece = await self.pieces.get()
            if not piece:
                return
            yield piece

    @property
    def kind(self) -> str:
        return "unknown" if self.expected is None else "known"

    async def settled(self) -> None:
        """Until it asks for more, or is over."""
        assert self.task is not None
        asked = asyncio.ensure_future(self.asks.wait())
        await asyncio.wait({self.task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()

    async def break_off(self) -> None:
        """Its client goes away."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})

    async def give(self, piece: bytes) -> None:
        self.asks.clear()
        self.sent += len(piece)
        self.pieces.put_nowait(piece)
        await self.settled()


class World:
    """`last` is what each project had before the step; `moved` says that an admin gave images away in it."""

    def __init__(self, databases: Sequence[SqlDatabase], seed: int) -> None:
        self.random = random.Random(seed)
        self.names = itertools.count()
        # Ids are another each time: the order in which images were made is not, so that a seed tells what is met.
        self.made: dict[str, int] = {}
        self.databases = databases
        self.processes = [self._started(number) for number in range(len(databases))]
        self.coming: list[Coming] = []
        self.frozen: list[Coming] = []
        self.last: Mapping[str, Usage] = {}
        self.moved = False
        self.met: Counter[str] = Counter()

    def _started(self, number: int) -> tuple[Services, MemoryBlocks]:
        blocks = MemoryBlocks(process=f"process-{next(self.names)}")
        limits = Limits(reserve_step=10)
        services = Services(self.databases[number], blocks, limits=limits, quotas=Said(QUOTA), keep_deleted=3600.0)
        return services, blocks

    @property
    def services(self) -> Services:
        return self.processes[0][0]

    async def step(self) -> None:
        acts = {
            self.create: 2,
            self.begin: 8,
            self.send: 12 if self.coming else 0,
            self.end: 4 if self.coming else 0,
            self.lose_the_client: 1 if self.coming else 0,
            self.kill: 1,
            self.go_on_after_all: 2 if self.frozen else 0,
            self.delete: 1,
            self.bring_back: 1,
            self.give_away: 1,
        }
        [act] = self.random.choices([*acts], [*acts.values()])
        self.met[act.__name__] += 1
        await act()
        for uploads in (self.coming, self.frozen):
            for each in [each for each in uploads if each.task is not None and each.task.done()]:
                uploads.remove(each)
                self._note(each)
        await self.nothing_grows_beyond_its_quota()
        await self.what_came_is_reserved()

    def _note(self, over: Coming) -> None:
        assert over.task is not None
        error = None if over.task.cancelled() else over.task.exception()
        assert isinstance(error, CatalogError | None)
        self.met[f"{'cancelled' if over.task.cancelled() else type(error).__name__} of {over.kind}"] += 1

    async def create(self) -> None:
        project = self.random.choice(PROJECTS)
        full = self.last.get(project, NOTHING).images >= (QUOTA.images or 0)
        with contextlib.suppress(QuotaExceeded):
            made = await images.create(self.services, ADMIN, replace(RAW, owner=project))
            self.made[made.id] = len(self.made)
            assert not full

    async def begin(self) -> None:
        queued = [each for each, status in (await self.there()).items() if status is Status.QUEUED]
        if not queued:
            return
        process = self.random.randrange(len(self.processes))
        expected = self.random.choice([None, None, self.random.choice(SIZES)])
        upload = Coming(process, self.random.choice(queued), expected)
        services, source = self.processes[process][0], PiecesSource(upload.read())
        upload.task = asyncio.ensure_future(image_data.upload(services, ADMIN, upload.image, source, expected=expected))
        await upload.settled()
        self.coming.append(upload)

    async def send(self) -> None:
        await self.random.choice(self.coming).give(b"x" * max(1, self.random.choice(SIZES)))

    async def end(self) -> None:
        """With all that was announced, or with what has come."""
        upload = self.random.choice(self.coming)
        missing = 0 if upload.expected is None else upload.expected - upload.sent
        if missing > 0 and self.random.random() < 0.8:
            await upload.give(b"x" * missing)
        await upload.give(b"")

    async def lose_the_client(self) -> None:
        await self.random.choice(self.coming).break_off()

    async def kill(self) -> None:
        """The other one sweeps; nothing of the killed one's uploads is left then."""
        process = self.random.randrange(len(self.processes))
        dead = self.processes[process][1].process
        self.processes[process] = self._started(process)
        for _, blocks in self.processes:
            blocks.dead.add(dead)
        self.frozen += [each for each in self.coming if each.process == process]
        self.coming = [each for each in self.coming if each.process != process]
        await image_data.requeue_orphans(self.processes[1 - process][0])

    async def go_on_after_all(self) -> None:
        """What was taken for dead changes nothing any more."""
        before = await self.look()
        await self.random.choice(self.frozen).give(b"x" * self.random.choice(SIZES))
        assert await self.look() == before

    async def delete(self) -> None:
        there = [*await self.there()]
        if there:
            await images.delete(self.services, ADMIN, self.random.choice(there))

    async def bring_back(self) -> None:
        def step(uow: UnitOfWork) -> list[str]:
            deleted = {each.id for each in uow.inventory.images() if each.status == "deleted"}
            return sorted(deleted, key=self.made.__getitem__)

        if kept := await self.services.database.read(step):
            with contextlib.suppress(QuotaExceeded):
                await undelete(self.services, ADMIN, self.random.choice(kept))
                self.met["brought back"] += 1

    async def give_away(self) -> None:
        there = [*await self.there()]

        def step(uow: UnitOfWork) -> None:
            image = uow.images.get(self.random.choice(there))
            assert image is not None
            image.owner = self.random.choice(PROJECTS)
            uow.images.save(image, expect=image.status)

        if there:
            await self.services.database.write(step)
            self.moved = True

    async def look(self) -> Mapping[str, Usage]:
        def step(uow: UnitOfWork) -> Mapping[str, Usage]:
            assert uow.quotas.all_usage() == uow.quotas.counted()
            return uow.quotas.all_usage()

        return await self.services.database.read(step)

    async def there(self) -> Mapping[str, Status]:
        def step(uow: UnitOfWork) -> Mapping[str, Status]:
            there = {each.id: Status(each.status) for each in uow.inventory.images() if each.status != "deleted"}
            return dict(sorted(there.items(), key=lambda each: self.made[each[0]]))

        return await self.services.database.read(step)

    async def nothing_grows_beyond_its_quota(self) -> None:
        now = await self.look()
        for project, usage in now.items():
            before = self.last.get(project, NOTHING)
            for name in NAMES:
                assert usage.used(name) >= 0
                assert self.moved or usage.used(name) <= max(getattr(QUOTA, name), before.used(name)), (project, name)
        self.last, self.moved = now, False

    async def what_came_is_reserved(self) -> None:
        """Of uploads whose image is there: the others find out when they next want something."""
        there = await self.there()
        live = [each for each in self.coming if each.image in there]
        pins = await self.services.database.read(lambda uow: uow.inventory.pins())
        reserved = {pin.image_id: pin.reserved for pin in pins}
        assert reserved.keys() == {each.image for each in live}
        assert not [each for each in live if reserved[each.image] < each.sent]

    async def end_all(self) -> None:
        for each in (*self.frozen, *self.coming):
            await each.break_off()
        for usage in (await self.look()).values():
            assert (usage.uploads, usage.staged_bytes) == (0, 0)


def test_no_order_of_uploads_overshoots_a_quota_or_keeps_what_it_reserved(tmp_path: Path) -> None:
    met: Counter[str] = Counter()

    async def scene(seed: int) -> None:
        with contextlib.ExitStack() as stack:
            path = tmp_path / f"{seed}.sqlite"
            world = World([stack.enter_context(contextlib.closing(new_catalog(path))) for _ in range(2)], seed)
            for _ in range(150):
                await world.step()
            await world.end_all()
            met.update(world.met)

    for seed in range(3):
        asyncio.run(scene(seed))
    for what in ("NoneType of unknown", "QuotaExceeded of unknown", "QuotaExceeded of known", "brought back"):
        assert met[what] > 3, met
