"""Making an image of what lies somewhere, asked for by the route that is for it: a task does it.

The image is `importing` meanwhile and bears the task's lock, so nothing else gives it bytes. Hashes that were said are
compared with what is there, where it can be read, before the image is active; if none were, a task computes them after.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from catalog import location_policy
from catalog.jobs.enqueueing import enqueue
from catalog.jobs.reading_lanes import lane_of_reading
from catalog.model import importing
from catalog.model.errors import Conflict, Forbidden, Invalid
from catalog.model.image import Status
from catalog.model.importing import LOCK
from catalog.model.job import JobCancelled
from catalog.model.quota import Usage
from catalog.model.task import HASH, LOCATION_IMPORT, Requester, image_task
from catalog.usecases import quotas
from catalog.usecases.access import load_visible
from catalog.usecases.locations import is_read_from
from catalog.usecases.registering import LONGEST_URL, NamedPlace, find_place, is_service, refuse_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.registering import FoundPlace
    from catalog.usecases.services import Services

ALGORITHMS: Final = ("sha1", "sha256", "sha512", "md5")
"""Those of a hash that can be said."""

_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII | re.IGNORECASE)


async def start(
    services: Services,
    caller: Caller,
    image_id: str,
    url: object,
    hashes: object,
    *,
    request_id: str | None = None,
) -> Task:
    """Begin to make the image of what lies at the URL; `hashes` are said of it, if any.

    Raises NotFound, Forbidden, Conflict (it is not queued), Invalid (the URL, what is there, hashes, formats),
    QuotaExceeded, LimitExceeded.
    """
    said = _read_hashes(hashes)
    if not isinstance(url, str) or not 0 < len(url) <= LONGEST_URL:
        raise Invalid(f"A location's url is a text of 1 to {LONGEST_URL} characters.")

    def check(uow: UnitOfWork) -> Image:
        image = load_visible(uow, caller, image_id)
        if not location_policy.may_add_location(caller, image):
            raise Forbidden(f"You are not permitted to add locations to image {image_id}.")
        if image.status is not Status.QUEUED:
            raise Conflict(f"It's not allowed to add locations if image status is {image.status.value}.")
        if image.disk_format is None or image.container_format is None:
            raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
        return image

    await services.database.read(check)
    _check_store(services, caller, url)
    found = await find_place(services, NamedPlace(url), None)
    by = Requester(caller.user, request_id)

    def begin(uow: UnitOfWork) -> Task:
        image, at = check(uow), services.clock()
        quotas.check(services, uow, image.owner, Usage(bytes=found.size or 0))
        task = image_task(LOCATION_IMPORT, image_id=image.id, owner=image.owner, by=by, at=at)
        task = replace(task, input={"image_id": image.id, "loc_url": url, "validation_data": dict(said)})
        image.begin_importing(at=at)
        image.properties[LOCK] = task.id
        uow.images.save(image, expect=Status.QUEUED)
        enqueue(uow, task)
        return task

    task = await services.database.write(begin)
    services.bell.ring()
    return task


def finish(
    services: Services, uow: UnitOfWork, task: Task, found: FoundPlace, hashes: Mapping[str, str], *, at: datetime
) -> None:
    """The image has the bytes that lie there. Raises JobCancelled when it waits for this task no more."""
    image = waiting_image(uow, task)
    image.size, image.locations = found.size, (found.location,)
    image.be_registered(hashes, at=at)
    importing.end(image)
    uow.images.save(image, expect=Status.IMPORTING)
    if services.location_hashes and image.os_hash_value is None and is_read_from(services, image.locations):
        hashing = image_task(
            HASH, image_id=image.id, owner=image.owner, by=Requester(task.user, task.request_id), at=at
        )
        enqueue(uow, hashing, lane=lane_of_reading(services, image))


def release(uow: UnitOfWork, task: Task, at: datetime) -> None:
    """A bad end: the image is queued again, if it waits for this task."""
    image = _waiting(uow, task)
    if image is not None:
        image.lose_import(at=at)
        importing.end(image)
        uow.images.save(image, expect=Status.IMPORTING)


def waiting_image(uow: UnitOfWork, task: Task) -> Image:
    """The image, while it waits for this task. Raises JobCancelled."""
    image = _waiting(uow, task)
    if image is None:
        raise JobCancelled("the image was deleted, or waits for this task no more.")
    return image


def _waiting(uow: UnitOfWork, task: Task) -> Image | None:
    image = uow.images.get(task.image_id or "")
    waits = image is not None and image.status is Status.IMPORTING and image.properties.get(LOCK) == task.id
    return image if waits else None


def _check_store(services: Services, caller: Caller, url: str) -> None:
    """Users name URLs of the web alone; services those of any store that others look after."""
    if is_service(caller):
        return
    store = services.stores.of_url(url)
    if store is None:
        refuse_address(services, url)
    if store is None or store.info.kind != "http":
        raise Forbidden("http store must be enabled to use location API by normal user.")


def _read_hashes(value: object) -> Mapping[str, str]:
    if value is None or value == {}:
        return {}
    if not isinstance(value, dict) or value.keys() != {"os_hash_algo", "os_hash_value"}:
        raise Invalid("validation_data is a JSON object of os_hash_algo and os_hash_value, both or none.")
    algorithm, digest = value["os_hash_algo"], value["os_hash_value"]
    if algorithm not in ALGORITHMS:
        raise Invalid(f"os_hash_algo is one of {', '.join(ALGORITHMS)}.")
    size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    if not isinstance(digest, str) or not _HEX.fullmatch(digest) or len(digest) != 2 * size:
        raise Invalid(f"os_hash_value is no {algorithm} in hex, which has {2 * size} digits.")
    return {"os_hash_algo": algorithm, "os_hash_value": digest.lower()}
