"""Asking for an import: what is refused at once, which stores get a copy, and the task that does it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from catalog import location_policy, policy
from catalog.jobs.enqueueing import enqueue
from catalog.model import importing
from catalog.model.errors import Conflict, Invalid
from catalog.model.image import Status
from catalog.model.importing import IMPORT, IMPORT_TASK, LOCK, RULES, Method, Plan
from catalog.model.location import OUR_STORE
from catalog.model.task import Requester, image_task
from catalog.usecases.access import load_modifiable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for; `stores` None: none was named. `method` has its name and what it needs.

    `told` is what the task's input is instead of all that, where it is a task of type `import`.
    """

    method: Mapping[str, str]
    stores: Sequence[str] | None = None
    all_stores: bool = False
    all_must_succeed: bool = True
    told: Mapping[str, object] | None = None

    @property
    def request(self) -> Mapping[str, object]:
        """As the task tells it."""
        stores = {} if self.stores is None else {"stores": list(self.stores)}
        flags = {"all_stores": self.all_stores, "all_stores_must_succeed": self.all_must_succeed}
        return {"method": dict(self.method), **stores, **flags}


async def start(
    services: Services,
    caller: Caller,
    image_id: str,
    asked: Asked,
    *,
    request_id: str | None = None,
    token: str | None = None,
) -> Task:
    """Begin an import into an image: a task that does it. Its method is one that is served.

    `token` is the caller's, with which another service is asked.

    Raises NotFound, Forbidden, Conflict (the image's status, its formats, another import, an unknown store), Invalid,
    AddressRefused, LimitExceeded (with the properties that imports get here).
    """
    if asked.method["name"] == Method.WEB_DOWNLOAD:
        # Before anybody is told of an address: who may not import, or not now, learns nothing by it.
        await services.database.read(lambda uow: _require(uow, caller, image_id, asked))
        await services.outgoing.check(asked.method["uri"])
    if asked.method["name"] == Method.GLANCE_DOWNLOAD:
        _require_askable(asked.method["glance_image_id"])
    by = Requester(caller.user, request_id)
    task = await services.database.write(lambda uow: _begin(services, uow, caller, image_id, asked, by, token))
    services.bell.ring()
    return task


def _require_askable(image_id: str) -> None:
    try:
        uuid.UUID(image_id)
    except ValueError:
        raise Invalid(
            f"The glance_image_id {image_id[:80]!r} cannot be: that image id does not look like a UUID."
        ) from None


def _begin(
    services: Services,
    uow: UnitOfWork,
    caller: Caller,
    image_id: str,
    asked: Asked,
    by: Requester,
    token: str | None,
) -> Task:
    image = _require(uow, caller, image_id, asked)
    staged = uow.staged.of_image(image.id)
    if image.status is Status.UPLOADING and staged is None:
        raise Conflict(f"Image {image.id} is still being staged: import it when that was answered.")
    now, before = services.clock(), image.status
    stores = _stores(services, image, asked)
    kind = IMPORT if asked.told is None else IMPORT_TASK
    told = {"image_id": image.id, "import_req": asked.request} if asked.told is None else asked.told
    task = image_task(kind, image_id=image.id, owner=image.owner, by=by, at=now)
    rules = {} if image.has_bytes else _rules(services, image, caller)
    task = replace(task, input={**told, "backend": stores, **({RULES: rules} if rules else {})})
    if image.has_bytes:
        image.be_changed(at=now)
    else:
        image.begin_importing(at=now)
    importing.begin(image, task.id, Plan.of(task))
    uow.images.save(image, expect=before)
    if staged is not None:
        uow.pins.give_to_job(staged.id, task.id)
    enqueue(uow, task)
    if token is not None and services.other_services is not None and asked.method["name"] == Method.GLANCE_DOWNLOAD:
        services.other_services.tokens.keep(task.id, token)
    return task


def _require(uow: UnitOfWork, caller: Caller, image_id: str, asked: Asked) -> Image:
    """The image, if this caller may import into it now."""
    method = Method(asked.method["name"])
    may = location_policy.may_copy if method is Method.COPY_IMAGE else policy.may_modify
    image = load_modifiable(uow, caller, image_id, may)
    _require_ready(image, method)
    _require_unlocked(uow, image)
    return image


def _rules(services: Services, image: Image, caller: Caller) -> Mapping[str, object]:
    """What the operator has done with this import. Raises LimitExceeded for an image that can take no more."""
    rules = services.import_rules.said_to(caller)
    after = image.copy()
    after.properties.update(services.import_rules.inject if "inject" in rules else {})
    services.limits.check_changed_image(image, after)
    return rules


_STATUS: Final[Mapping[Method, tuple[Status, str]]] = {
    Method.GLANCE_DIRECT: (Status.UPLOADING, "its data is staged first, with PUT /v2/images/{id}/stage"),
    Method.WEB_DOWNLOAD: (Status.QUEUED, "it takes a queued image"),
    Method.GLANCE_DOWNLOAD: (Status.QUEUED, "it takes a queued image"),
    Method.COPY_IMAGE: (Status.ACTIVE, "it copies an active image"),
}


def _require_ready(image: Image, method: Method) -> None:
    wanted, why = _STATUS[method]
    if image.status is not wanted:
        raise Conflict(f"Image {image.id} is {image.status.value}; of the way of import {method.value}: {why}.")
    for name in ("disk_format", "container_format"):
        if getattr(image, name) is None:
            raise Conflict(f"Image {image.id} has no {name}: set it before the import.")


def _require_unlocked(uow: UnitOfWork, image: Image) -> None:
    holder = uow.tasks.get(image.properties.get(LOCK, ""))
    if holder is not None and not holder.is_over:
        raise Conflict(f"Image {image.id} is being imported by task {holder.id}: wait for its end, or cancel it.")


def _stores(services: Services, image: Image, asked: Asked) -> Sequence[str | None]:
    """The stores that are to get a copy; None stands for the one there is, where nobody hears of stores."""
    if not services.stores.several:
        if not asked.all_must_succeed:
            raise Invalid("all_stores_must_succeed can be false only where there are several stores: here is one.")
        if other := next((name for name in asked.stores or () if name != OUR_STORE), None):
            raise Conflict(f"There is no store {other[:80]!r}: all images lie in one place here.")
        return [None]
    there = {location.store for location in image.locations}
    if asked.all_stores:
        found = [each.name for each in services.stores.infos() if not each.read_only and each.name not in there]
        if not found:
            raise Invalid(f"Image {image.id} is in all stores already.")
        return found
    found = list(asked.stores or (services.stores.default,))
    for name in found:
        info = services.stores.info(name)
        if info is None:
            raise Conflict(f"There is no store {name[:80]!r}; GET /v2/info/stores lists them.")
        if info.read_only:
            raise Conflict(f"Store {name} is only read: nothing can be imported into it.")
        if name in there:
            raise Invalid(f"Image {image.id} is in store {name} already.")
    return found
