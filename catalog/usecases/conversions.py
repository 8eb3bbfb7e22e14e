"""Converting an image on demand: a new image of the same disk in another format, made by a task.

The bytes of an active image never change, so what is converted is another image. It is there at once, `importing` as
any image that a task gives its bytes; it goes again if the task ends badly.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from catalog import conversion_policy, policy
from catalog.conversion_ports import SOURCES, TARGETS
from catalog.jobs.enqueueing import enqueue
from catalog.model import importing
from catalog.model.errors import Conflict, Forbidden, Invalid
from catalog.model.image import Image, Status, Visibility
from catalog.model.importing import CONVERT, LOCK, Plan
from catalog.model.known_properties import RESERVED_PREFIX
from catalog.model.new_image import NewImage
from catalog.model.quota import Usage
from catalog.model.task import Requester, TaskQuery, TaskStatus, image_task
from catalog.property_protection import Operation
from catalog.usecases import import_steps, quotas
from catalog.usecases.access import load_visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from catalog.model.caller import Caller
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

CONVERTED_FROM: Final = "drystone_converted_from"
"""The property that names the image of which another one was made."""
_MOST: Final = 1000
# What signs the bytes is no signature of others, by which a machine would be refused.
_NOT_COPIED: Final = (RESERVED_PREFIX, "img_signature")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made: `name` None is the image's own, with the format; `compressed` is for qcow2 alone."""

    disk_format: str
    name: str | None = None
    compressed: bool = False


async def convert(
    services: Services, caller: Caller, image_id: str, wanted: Wanted, *, request_id: str | None = None
) -> Task:
    """A task that makes the new image, which is its `image_id`; the same one while it is under way.

    The new image is its owner's if the caller acts for that project, or for all; else the caller's project's.
    Raises Invalid, NotFound, Forbidden, Conflict (no bytes, or a format that cannot be converted), LimitExceeded,
    QuotaExceeded.
    """
    if wanted.disk_format not in TARGETS:
        raise Invalid(f"disk_format is one of {', '.join(TARGETS)}, not {wanted.disk_format[:80]!r}.")
    if wanted.compressed and wanted.disk_format != "qcow2":
        raise Invalid("compressed goes with the disk_format qcow2 alone.")
    by = Requester(caller.user, request_id)
    task = await services.database.write(lambda uow: _begin(services, uow, caller, image_id, wanted, by))
    services.bell.ring()
    return task


def release(uow: UnitOfWork, task: Task, at: datetime) -> None:
    """A bad end: all that the task had goes, and the image with it."""
    image = uow.images.get(task.image_id or "")
    is_ours = image is not None and image.properties.get(LOCK) == task.id
    import_steps.release(uow, task, at)
    image = uow.images.get(task.image_id or "")
    if is_ours and image is not None and not image.has_bytes:
        uow.images.remove(image)


def _begin(services: Services, uow: UnitOfWork, caller: Caller, image_id: str, wanted: Wanted, by: Requester) -> Task:
    source = load_visible(uow, caller, image_id)
    owner = source.owner if policy.is_own(caller, source.owner) else caller.project
    _check_may(caller, source, owner)
    _check_can(source, wanted)
    method = {
        "name": CONVERT,
        "image_id": source.id,
        "disk_format": wanted.disk_format,
        "compressed": wanted.compressed,
    }
    asked = {"method": method} if wanted.name is None else {"method": method, "name": wanted.name}
    under_way = _under_way(uow, owner, asked)
    if under_way is not None:
        return under_way
    now = services.clock()
    image = _new_image(services, caller, source, owner, wanted, now)
    quotas.check(services, uow, owner, Usage(images=1))
    task = image_task(CONVERT, image_id=image.id, owner=owner, by=by, at=now)
    store = services.stores.default if services.stores.several else None
    task = replace(task, input={"image_id": source.id, "import_req": asked, "backend": [store]})
    importing.begin(image, task.id, Plan.of(task))
    uow.images.add(image)
    enqueue(uow, task)
    return task


def _check_may(caller: Caller, source: Image, owner: str | None) -> None:
    if not conversion_policy.may_convert(caller, source, owner):
        raise Forbidden(
            f"You are not permitted to convert image {source.id}; by default, whoever may download it and create "
            "images is."
        )


def _check_can(source: Image, wanted: Wanted) -> None:
    if not source.has_bytes:
        raise Conflict(f"Image {source.id} is {source.status.value} and has no data that could be converted.")
    if source.container_format != "bare" or source.disk_format not in SOURCES:
        raise Conflict(
            f"Image {source.id} is {source.disk_format} ({source.container_format}) and cannot be converted; bare "
            f"images of {', '.join(SOURCES)} can."
        )
    if source.disk_format == wanted.disk_format == "raw":
        raise Conflict(f"Image {source.id} is raw already.")


def _under_way(uow: UnitOfWork, owner: str | None, asked: Mapping[str, object]) -> Task | None:
    """The owner's task that was asked for the same, and will make an image: not one that is about to be cancelled."""
    doomed = {held.claim.job_id for held in uow.jobs.claims() if held.cancelled}
    for status in (TaskStatus.PENDING, TaskStatus.PROCESSING):
        query = TaskQuery(status=status, type=CONVERT, limit=_MOST)
        for task in uow.tasks.page(owner, query, None).tasks:
            alike = task.owner == owner and task.input["import_req"] == asked
            if alike and task.id not in doomed and _is_made(uow, task):
                return task
    return None


def _is_made(uow: UnitOfWork, task: Task) -> bool:
    """Whether the task's image is there, and the task's: it may have been deleted while a worker still works on it."""
    image = uow.images.get(task.image_id or "")
    return image is not None and image.properties.get(LOCK) == task.id


def _new_image(
    services: Services, caller: Caller, source: Image, owner: str | None, wanted: Wanted, at: datetime
) -> Image:
    """The record of the new image: what the source's says, as far as this caller is told of it and may say it."""
    rights = services.protection.rights(caller)
    copied = {
        name: text
        for name, text in source.properties.items()
        if not name.startswith(_NOT_COPIED) and rights.may(Operation.READ, name) and rights.may(Operation.CREATE, name)
    }
    new = NewImage(
        name=wanted.name if wanted.name is not None else _named(source, wanted, services.limits.name_length),
        visibility=Visibility.PRIVATE,
        disk_format=wanted.disk_format,
        container_format="bare",
        min_disk=source.min_disk,
        min_ram=source.min_ram,
        properties=copied | {CONVERTED_FROM: source.id},
        tags=source.tags,
    )
    services.limits.check_new_image(new)
    image = Image(
        id=str(uuid.uuid4()),
        owner=owner,
        created_at=at,
        updated_at=at,
        status=Status.QUEUED,
        name=new.name,
        visibility=new.visibility,
        disk_format=new.disk_format,
        container_format=new.container_format,
        min_disk=new.min_disk,
        min_ram=new.min_ram,
        properties=dict(new.properties),
        tags=new.tags,
    )
    image.begin_importing(at=at)
    return image


def _named(source: Image, wanted: Wanted, longest: int) -> str | None:
    suffix = f".{wanted.disk_format}"
    return None if source.name is None else source.name[: longest - len(suffix)] + suffix
