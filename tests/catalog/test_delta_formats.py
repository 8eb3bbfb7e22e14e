"""A delta upload is looked at when it is committed, for nobody saw its bytes pass in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.formats.rules import Formats
from catalog.model.errors import FormatRefused
from catalog.model.new_image import NewImage
from catalog.usecases import delta_commit, deltas, images
from tests.catalog.delta_scenes import BLOCK, begun, send, served
from tests.kit.disk_files import DISK_SIZES, disk_file, format_of
from tests.kit.image_service import CALLER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.usecases.services import Services


async def queued(services: Services, disk_format: str) -> str:
    wanted = NewImage(disk_format=disk_format, container_format="bare")
    return (await images.create(services, CALLER, wanted)).id


async def pushed(
    services: Services, image: str, data: bytes, *, base: str | None = None, numbers: Sequence[int] | None = None
) -> Image:
    """These blocks of it, by default all, and the commit."""
    named = await begun(services, image, base=base, size=len(data))
    blocks = dict(enumerate(data[at : at + BLOCK] for at in range(0, len(data), BLOCK)))
    sent = [(n, blocks[n].ljust(min(BLOCK, len(data) - n * BLOCK), b"\0")) for n in numbers or blocks]
    await send(services, named, *[(n, each) for n, each in sent if any(each)])
    return await delta_commit.commit(services, named, expected=None)


@pytest.mark.parametrize("name", ["plain.qcow2", "dynamic.vhd", "fixed.vhd", "stream.vmdk", "plain.vhdx"])
def test_an_assembled_disk_is_found_to_be_what_it_is(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (_, found, _):
            services = replace(found, formats=Formats.ENFORCE)
            image = await queued(services, format_of(name))
            done = await pushed(services, image, disk_file(name))
            assert (done.status.value, done.virtual_size) == ("active", DISK_SIZES[name])

    asyncio.run(scenario())


def test_a_header_that_arrives_over_a_safe_base_is_refused_and_the_image_is_queued_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, found, _):
            services = replace(found, formats=Formats.ENFORCE)
            good, bad = disk_file("plain.qcow2"), disk_file("backing.qcow2")
            base = (await pushed(services, await queued(services, "qcow2"), good)).id
            image = await queued(services, "qcow2")
            with pytest.raises(FormatRefused, match="backing file"):
                await pushed(services, image, bad, base=base, numbers=[0])
            again = await images.show(services, CALLER, image)
            assert (again.status.value, again.size, again.virtual_size, again.checksum) == ("queued", None, None, None)
            assert await deltas.of_image(services, CALLER, image) == ()
            # Nothing is left that a collection would wait for, and the right bytes are taken at once.
            done = await pushed(services, image, good, base=base, numbers=[1])
            assert done.virtual_size == 1 << 20
            assert await service.get(image) == good

    asyncio.run(scenario())


def test_a_put_over_a_parent_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, found, _):
            services = replace(found, formats=Formats.ENFORCE)
            parent = await service.pushed(b"\0" * 100_000)
            child = replace(service, services=services)
            with pytest.raises(FormatRefused):
                await child.pushed(disk_file("backing.qcow2"), parent=parent)

    asyncio.run(scenario())
