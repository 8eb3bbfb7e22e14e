"""Conversion by jobs, on import and on demand, over a double that understands formats as marks before the disk."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.rooms import Rooms
from catalog.model.caller import Caller
from catalog.model.errors import (
    Conflict,
    ConversionFailed,
    ConversionRefused,
    Forbidden,
    Invalid,
    LimitExceeded,
    NotFound,
    QuotaExceeded,
)
from catalog.model.image import Status, Visibility
from catalog.model.importing import FAILED, LEFT, LOCK, ImportRules
from catalog.model.new_image import NewImage
from catalog.model.quota import Quota
from catalog.model.task import TaskStatus
from catalog.quota_ports import Said
from catalog.usecases import images, imports, tasks
from catalog.usecases.conversions import CONVERTED_FROM, Wanted, convert
from tests.catalog.cast import ADMIN, ANNA, BORIS, READER, bytes_of, put
from tests.catalog.import_scenes import DATA, DIRECT, imported, left, now, staged, told, working
from tests.catalog.jobs.scenes import over, seen, task_now
from tests.kit.memory_store import MemoryStore
from tests.kit.played_converter import PlayedConverter, marked, packed
from tests.kit.several_stores import with_stores

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

QCOW2 = NewImage(name="disk", disk_format="qcow2", container_format="bare")
FILE = marked("qcow2", DATA)


@pytest.fixture
def converter() -> PlayedConverter:
    return PlayedConverter()


@pytest.fixture
def services(services: Services, blocks: MemoryBlocks, converter: PlayedConverter, tmp_path: Path) -> Services:
    rooms = Rooms(tmp_path / "work", store=blocks.store, process=blocks.process, is_alive=blocks.is_alive)
    return replace(services, converter=converter, rooms=rooms)


def files(root: Path) -> list[str]:
    return [str(path) for path in (root / "work").rglob("*") if path.is_file()]


def to_raw(services: Services, **more: object) -> Services:
    return replace(services, import_rules=replace(ImportRules(convert="raw"), **more))  # type: ignore[arg-type]


async def active(services: Services, data: bytes = FILE, new: NewImage = QCOW2) -> Image:
    return await put(services, await images.create(services, ANNA, new), data)


async def ended(services: Services, task: Task) -> Task:
    async with working(services):
        return await over(services, task)


# On import.


def test_what_is_imported_is_converted_and_told_as_what_it_has_become(
    services: Services, converter: PlayedConverter, tmp_path: Path
) -> None:
    async def scene() -> None:
        rule = to_raw(services)
        image = await staged(rule, FILE, QCOW2)
        task = await imported(rule, image)
        after = await now(rule, image)
        assert (task.status, after.status, after.disk_format) == (TaskStatus.SUCCESS, Status.ACTIVE, "raw")
        assert (after.size, after.virtual_size) == (len(DATA), len(DATA))
        assert await bytes_of(rule, after) == DATA
        plain = await active(services, DATA, replace(QCOW2, disk_format="raw"))
        assert (after.checksum, after.os_hash_value) == (plain.checksum, plain.os_hash_value)
        assert task.result is not None
        assert await left(rule, image) == []

    asyncio.run(scene())
    assert converter.calls == [("raw", "converted")]
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("new", "data"),
    [
        (replace(QCOW2, disk_format="raw"), DATA),
        (replace(QCOW2, disk_format="iso"), DATA),
        (replace(QCOW2, container_format="ova"), DATA),
        (replace(QCOW2, disk_format="raw", container_format="compressed"), b"\x1f\x8b" + DATA),
    ],
)
def test_what_has_the_format_already_or_is_no_disk_is_taken_as_it_comes(
    services: Services, converter: PlayedConverter, new: NewImage, data: bytes
) -> None:
    async def scene() -> None:
        rule = to_raw(services, decompress=True)
        image = await staged(rule, data, new)
        assert (await imported(rule, image)).status is TaskStatus.SUCCESS
        after = await now(rule, image)
        assert (after.disk_format, after.container_format) == (new.disk_format, new.container_format)
        assert await bytes_of(rule, after) == data

    asyncio.run(scene())
    assert converter.calls == []


def test_a_file_that_cannot_be_converted_fails_with_the_reason_and_the_image_is_as_before(services: Services) -> None:
    async def scene() -> None:
        rule = with_stores(to_raw(services), MemoryStore("near"))
        image = await staged(rule, b"no qcow2 at all", QCOW2)
        task = await imported(rule, image, replace(DIRECT, stores=["near"]))
        assert task.status is TaskStatus.FAILURE
        assert (task.attempts, task.message) == (1, "The file is said to be qcow2, and is not.")
        after = await now(rule, image)
        assert (after.status, after.disk_format, after.size) == (Status.QUEUED, "qcow2", None)
        assert told(after) == {LEFT: "", FAILED: "near"}
        assert await left(rule, image) == []

    asyncio.run(scene())


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "zip"])
def test_what_is_compressed_is_unpacked_and_then_converted(
    services: Services, converter: PlayedConverter, compression: str
) -> None:
    async def scene() -> None:
        rule = to_raw(services, decompress=True)
        image = await staged(rule, packed(compression, FILE), QCOW2)
        task = await imported(rule, image)
        after = await now(rule, image)
        assert (task.status, after.disk_format, after.container_format) == (TaskStatus.SUCCESS, "raw", "bare")
        assert await bytes_of(rule, after) == DATA
        assert await left(rule, image) == []

    asyncio.run(scene())
    assert converter.calls == [(compression, "unpacked"), ("raw", "converted")]


def test_what_is_unpacked_may_look_compressed_and_is_unpacked_once(services: Services) -> None:
    async def scene() -> None:
        near = MemoryStore("near")
        rule = with_stores(replace(services, import_rules=ImportRules(decompress=True)), near)
        twice = packed("gzip", packed("xz", DATA))
        image = await staged(rule, twice, replace(QCOW2, disk_format="raw"))
        near.down = True
        task = await imports.start(rule, ANNA, image.id, replace(DIRECT, stores=["near"]))
        async with working(rule):
            # A try has unpacked it, and finds the store down.
            await seen(rule, task, lambda now: "import_ready" in now.input)
            near.down = False
            assert (await over(rule, task)).status is TaskStatus.SUCCESS
        assert await bytes_of(rule, await now(rule, image)) == packed("xz", DATA)

    asyncio.run(scene())


def test_an_unpacked_file_is_no_larger_than_an_image_may_be(services: Services) -> None:
    async def scene() -> None:
        limits = replace(services.limits, image_size_cap=len(DATA) - 1)
        rule = replace(services, import_rules=ImportRules(decompress=True), limits=limits)
        image = await staged(replace(rule, limits=services.limits), packed("zip", DATA))
        task = await imported(rule, image)
        assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
        assert "longer than" in task.message

    asyncio.run(scene())


def test_a_conversion_that_the_machine_ended_is_tried_again(services: Services, converter: PlayedConverter) -> None:
    async def scene() -> None:
        rule = to_raw(services)
        image = await staged(rule, FILE, QCOW2)
        converter.error = ConversionFailed("It took too long.")
        task = await imports.start(rule, ANNA, image.id, DIRECT)
        done = await ended(rule, task)
        assert (done.status, done.attempts) == (TaskStatus.SUCCESS, 2)
        assert await bytes_of(rule, await now(rule, image)) == DATA

    asyncio.run(scene())


def test_what_was_converted_lies_in_the_stores_that_were_asked_for(services: Services) -> None:
    async def scene() -> None:
        near = MemoryStore("near")
        rule = with_stores(to_raw(services), near)
        image = await staged(rule, FILE, QCOW2)
        assert (await imported(rule, image, replace(DIRECT, stores=["near"]))).status is TaskStatus.SUCCESS
        assert [location.store for location in (await now(rule, image)).locations] == ["near"]
        assert list(near.copies.values()) == [DATA]
        assert await left(rule, image) == []

    asyncio.run(scene())


def test_a_quota_counts_what_was_made_and_refuses_what_is_too_much(services: Services) -> None:
    async def scene() -> None:
        small = Quota(bytes=len(FILE) + len(DATA) // 2)
        rule = replace(to_raw(services, convert="vmdk"), quotas=Said(projects={"wall": small}))
        image = await staged(rule, FILE, QCOW2)
        # Both at once would be too much: what is made takes the place of what came.
        assert (await imported(rule, image)).status is TaskStatus.SUCCESS
        tight = replace(rule, quotas=Said(projects={"wall": Quota(bytes=2 * len(DATA) + 8)}))
        raw = await staged(tight, DATA, replace(QCOW2, disk_format="raw"))
        task = await imported(tight, raw)
        assert task.status is TaskStatus.FAILURE
        assert "quota" in task.message
        assert (await now(tight, raw)).status is Status.QUEUED

    asyncio.run(scene())


def test_properties_are_injected_with_the_bytes_unless_the_caller_has_a_role_that_is_spared(services: Services) -> None:
    async def scene() -> None:
        rule = replace(services, import_rules=ImportRules(inject={"tier": "gold", "name_of": "wall"}))
        image = await staged(rule)
        assert "tier" not in (await now(rule, image)).properties
        await imported(rule, image)
        assert (await now(rule, image)).properties["tier"] == "gold"
        other = await staged(rule)
        chief = Caller("chief", "wall", frozenset({"admin"}))
        await ended(rule, await imports.start(rule, chief, other.id, DIRECT))
        assert "tier" not in (await now(rule, other)).properties

    asyncio.run(scene())


def test_an_image_that_could_not_take_what_is_injected_is_refused_before_its_import(services: Services) -> None:
    async def scene() -> None:
        full = NewImage(disk_format="raw", container_format="bare", properties={f"p{n}": "" for n in range(128)})
        rule = replace(services, import_rules=ImportRules(inject={"tier": "gold"}))
        image = await staged(rule, DATA, full)
        with pytest.raises(LimitExceeded):
            await imports.start(rule, ANNA, image.id, DIRECT)
        assert (await now(rule, image)).status is Status.UPLOADING

    asyncio.run(scene())


# On demand.


def test_an_image_is_converted_into_a_new_one(services: Services, tmp_path: Path) -> None:
    async def scene() -> None:
        properties = {"os_distro": "debian", "img_signature": "c2lnbmVk", "img_signature_hash_method": "SHA-256"}
        new = replace(QCOW2, properties=properties, tags=frozenset({"prod"}), min_disk=3, min_ram=64)
        source = await active(services, new=replace(new, visibility=Visibility.SHARED))
        task = await convert(services, ANNA, source.id, Wanted("raw"))
        assert task.image_id is not None
        image = await images.show(services, ANNA, task.image_id)
        assert (image.status, image.name, image.properties[LOCK]) == (Status.IMPORTING, "disk.raw", task.id)
        assert (await ended(services, task)).status is TaskStatus.SUCCESS
        image = await now(services, image)
        assert (image.status, image.disk_format, image.owner) == (Status.ACTIVE, "raw", source.owner)
        assert image.visibility is Visibility.PRIVATE
        assert (image.min_disk, image.min_ram, image.tags) == (3, 64, frozenset({"prod"}))
        assert image.properties == {"os_distro": "debian", CONVERTED_FROM: source.id}
        assert await bytes_of(services, image) == DATA
        assert (image.size, image.virtual_size) == (len(DATA), len(DATA))
        assert await bytes_of(services, source) == FILE
        assert await left(services, image) == []

    asyncio.run(scene())
    assert files(tmp_path) == []


def test_the_same_asked_again_is_the_same_task_while_it_is_under_way(services: Services) -> None:
    async def scene() -> None:
        source = await active(services)
        first = await convert(services, ANNA, source.id, Wanted("raw"))
        assert (await convert(services, ANNA, source.id, Wanted("raw"))).id == first.id
        others = [Wanted("vmdk"), Wanted("qcow2", compressed=True), Wanted("raw", name="other")]
        assert first.id not in {(await convert(services, ANNA, source.id, each)).id for each in others}
        assert (await convert(services, ADMIN, source.id, Wanted("raw"))).id == first.id
        await ended(services, first)
        assert (await convert(services, ANNA, source.id, Wanted("raw"))).id != first.id

    asyncio.run(scene())


def test_a_conversion_that_fails_takes_its_image_along(
    services: Services, converter: PlayedConverter, tmp_path: Path
) -> None:
    async def scene() -> None:
        source = await active(services, b"no qcow2 at all")
        task = await convert(services, ANNA, source.id, Wanted("raw"))
        done = await ended(services, task)
        assert (done.status, done.message) == (TaskStatus.FAILURE, "The file is said to be qcow2, and is not.")
        with pytest.raises(NotFound):
            await images.show(services, ANNA, task.image_id or "")
        assert (await now(services, source)).status is Status.ACTIVE
        assert await left(services, source) == []

    asyncio.run(scene())
    assert files(tmp_path) == []


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_ending_a_conversion_in_its_middle_leaves_neither_image_nor_file(
    services: Services, converter: PlayedConverter, tmp_path: Path, how: str
) -> None:
    async def scene() -> None:
        begun = asyncio.Event()

        async def for_ever(_target: Path) -> None:
            begun.set()
            await asyncio.Event().wait()

        converter.in_the_middle = for_ever
        source = await active(services)
        task = await convert(services, ANNA, source.id, Wanted("raw"))
        async with working(services):
            await begun.wait()
            assert files(tmp_path)
            if how == "cancel":
                await tasks.cancel(services, ANNA, task.id)
            else:
                await images.delete(services, ANNA, task.image_id or "")
            # Its worker may not have seen it yet: who asks for the same now gets one that will be made.
            converter.in_the_middle = None
            another = await convert(services, ANNA, source.id, Wanted("raw"))
            assert another.id != task.id
            assert (await over(services, another)).status is TaskStatus.SUCCESS
            done = await over(services, task)
            await seen(services, task, lambda _now: not files(tmp_path))
        assert done.status is TaskStatus.FAILURE
        assert done.message.startswith("Cancelled: ")
        with pytest.raises(NotFound):
            await images.show(services, ANNA, task.image_id or "")
        assert await left(services, source) == []

    asyncio.run(scene())


def test_one_that_waits_is_taken_back_with_its_image(services: Services) -> None:
    async def scene() -> None:
        source = await active(services)
        for end in (tasks.cancel, None):
            task = await convert(services, ANNA, source.id, Wanted("raw"))
            if end is None:
                await images.delete(services, ANNA, task.image_id or "")
            else:
                await end(services, ANNA, task.id)
            assert (await task_now(services, task)).status is TaskStatus.FAILURE
            with pytest.raises(NotFound):
                await images.show(services, ANNA, task.image_id or "")

    asyncio.run(scene())


def test_an_image_whose_source_goes_meanwhile_goes_too(services: Services) -> None:
    async def scene() -> None:
        source = await active(services)
        task = await convert(services, ANNA, source.id, Wanted("raw"))
        await images.delete(services, ANNA, source.id)
        done = await ended(services, task)
        assert (done.status, done.attempts) == (TaskStatus.FAILURE, 1)
        assert "was deleted" in done.message

    asyncio.run(scene())


def test_a_strangers_conversion_is_the_strangers_image(services: Services) -> None:
    async def scene() -> None:
        source = await active(services)
        with pytest.raises(NotFound):
            await convert(services, BORIS, source.id, Wanted("raw"))
        with pytest.raises(Forbidden):
            await convert(services, READER, source.id, Wanted("raw"))
        public = await put(
            services,
            await images.create(services, ADMIN, replace(QCOW2, visibility=Visibility.PUBLIC)),
            FILE,
            caller=ADMIN,
        )
        task = await convert(services, BORIS, public.id, Wanted("raw"))
        assert task.owner == BORIS.project
        await ended(services, task)
        image = await images.show(services, BORIS, task.image_id or "")
        assert (image.owner, image.visibility) == (BORIS.project, Visibility.PRIVATE)
        own = await convert(services, ADMIN, source.id, Wanted("raw"))
        assert own.owner == source.owner

    asyncio.run(scene())


def test_what_cannot_be_converted_is_refused_before_there_is_anything(services: Services) -> None:
    async def scene() -> None:
        source = await active(services)
        queued = await images.create(services, ANNA, QCOW2)
        disc = await active(services, DATA, replace(QCOW2, disk_format="iso"))
        raw = await active(services, DATA, replace(QCOW2, disk_format="raw"))
        for image, wanted, error in (
            (source, Wanted("floppy"), Invalid),
            (source, Wanted("raw", compressed=True), Invalid),
            (source, Wanted("raw", name="x" * 300), Invalid),
            (queued, Wanted("raw"), Conflict),
            (disc, Wanted("raw"), Conflict),
            (raw, Wanted("raw"), Conflict),
        ):
            with pytest.raises(error):
                await convert(services, ANNA, image.id, wanted)
        one = replace(services, quotas=Said(projects={"wall": Quota(images=4)}))
        with pytest.raises(QuotaExceeded):
            await convert(one, ANNA, source.id, Wanted("raw"))

    asyncio.run(scene())


def test_a_service_that_converts_nothing_says_so_in_the_task_and_keeps_nothing_open(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        source = await active(services)
        without = replace(services, converter=None)
        task = await convert(without, ANNA, source.id, Wanted("raw"))
        async with working(without):
            waiting = await seen(without, task, lambda now: "converts no images" in now.message)
        assert waiting.status is TaskStatus.PENDING
        assert blocks.open_readers == 0

    asyncio.run(scene())


def test_an_error_of_the_file_has_no_trace_of_the_room(services: Services, converter: PlayedConverter) -> None:
    async def scene() -> None:
        source = await active(services)
        converter.error = ConversionRefused("It has a backing file.")
        done = await ended(services, await convert(services, ANNA, source.id, Wanted("raw")))
        assert done.message == "It has a backing file."

    asyncio.run(scene())
