"""glance-download: the bytes of an image of another service, and what comes along with them.

What is told of the image there becomes the image's own in the transaction that keeps its bytes: an import that fails
before leaves all as it was.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from catalog.jobs.counting import report_copied
from catalog.model.caller import Caller
from catalog.model.errors import SourceRefused
from catalog.model.job import JobFailed
from catalog.property_protection import Operation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from catalog.jobs.context import JobContext
    from catalog.model.foreign_image import ForeignImage
    from catalog.model.image import Image
    from catalog.stores.outgoing.outgoing import Remote
    from catalog.usecases.services import Services


class ForeignSource:
    """`catalog.ports.Source` of such an image; `told` is what the other service tells of it."""

    def __init__(self, remote: Remote, told: ForeignImage) -> None:
        self.told = told
        self._remote = remote

    async def read_into(self, room: memoryview) -> int:
        """The other service's bytes."""
        return await self._remote.read_into(room)


@asynccontextmanager
async def from_other_service(
    context: JobContext, method: Mapping[str, str]
) -> AsyncGenerator[tuple[ForeignSource, int | None], None]:
    """The source that the task's method names, open, and its length."""
    services, task_id = context.services, context.task.id
    if services.other_services is None:
        raise JobFailed("No other image service can be asked: this one has no Keystone that knows them.")
    region, interface = method["glance_region"], method["glance_service_interface"]
    opened = services.other_services.opened(task_id, method["glance_image_id"], region=region, interface=interface)
    try:
        async with opened as image:
            remote = await image.open(limit=services.limits.image_size_cap)
            remote.on_progress = partial(report_copied, context)
            try:
                yield ForeignSource(remote, image.told), image.told.size
            finally:
                remote.close()
            # All is here, under the task's pin: nobody is asked again.
            services.other_services.tokens.forget(task_id)
    except SourceRefused as error:
        raise JobFailed(str(error)) from error


def take_over(services: Services, image: Image, told: ForeignImage | None) -> None:
    """Give an image what another service tells of it, of its properties those that any member of a project may create.

    Raises Invalid or LimitExceeded for what it may not have.
    """
    if told is None:
        return
    before = image.copy()
    image.disk_format, image.container_format = told.disk_format, told.container_format
    rights = services.protection.rights(Caller("", image.owner or "", frozenset({"member", "reader"})))
    may = {name: text for name, text in told.properties.items() if rights.may(Operation.CREATE, name)}
    image.properties.update(may)
    services.limits.check_changed_image(before, image)


def check_hash(told: ForeignImage, hashes: Mapping[str, str]) -> None:
    """Raise JobFailed if other bytes came than were told of."""
    if told.hash is not None and hashes.get(told.hash[0], told.hash[1]) != told.hash[1]:
        raise JobFailed(f"The bytes that came have another {told.hash[0]} than the other service tells of its image.")
