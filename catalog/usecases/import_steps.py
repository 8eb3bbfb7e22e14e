"""What an import changes, each a step within one transaction; the job `jobs/import_image.py` decides their order.

All of them find the import by its task: the image's lock names it, the job's pins and loose copies bear its id. So a
late step of an import that is over finds nothing of its own, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from catalog.formats.rules import Said
from catalog.jobs.enqueueing import enqueue
from catalog.model import importing
from catalog.model.image import Contents, Status
from catalog.model.importing import LOCK, Plan, Ready
from catalog.model.job import JobCancelled, JobFailed
from catalog.model.pin import UploadKind
from catalog.model.task import HASH, Requester, image_task
from catalog.usecases import uploads
from catalog.usecases.coalescing import let_go, look_below
from catalog.usecases.copying import let_go_copies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.model.loose import LooseCopy
    from catalog.model.pin import Pin
    from catalog.model.staged import Staged
    from catalog.model.task import Task
    from catalog.ports import StoredManifest, UnitOfWork

_GONE: Final = "the image was deleted, or is no longer imported by this task."


@dataclass(frozen=True, slots=True)
class Found:
    """Where an import stands: the image, what is staged for it with its chain, and what the try before left.

    `ready` says what the staged bytes are if they were made of those that came.
    """

    image: Image
    staged: Staged | None
    chain: Sequence[StoredManifest]
    left_pins: Sequence[Pin]
    left_copies: Sequence[LooseCopy]
    ready: Ready | None = None

    @property
    def said(self) -> Said:
        """What the staged bytes are said to be."""
        said = Said.of(self.image)
        return said if self.ready is None else replace(said, disk_format=self.ready.disk_format)


def look(uow: UnitOfWork, task: Task) -> Found:
    """Only reads. Raises JobCancelled when the image is gone."""
    image = importing_image(uow, task)
    pins = _pins_of(uow, task)
    staged = uow.staged.of_image(image.id)
    if staged is not None and staged.id not in {pin.id for pin in pins}:
        staged = None
    return Found(
        image=image,
        staged=staged,
        chain=() if staged is None else uow.manifests.chain(staged.manifest),
        left_pins=[pin for pin in pins if staged is None or pin.id != staged.id],
        left_copies=_copies_of(uow, task),
        ready=_ready(uow, task, staged),
    )


def importing_image(uow: UnitOfWork, task: Task) -> Image:
    """The image, while this task imports into it; else JobCancelled."""
    image = uow.images.get(task.image_id or "")
    if image is None or image.properties.get(LOCK) != task.id:
        raise JobCancelled(_GONE)
    return image


def clear(uow: UnitOfWork, task: Task, *, at: datetime) -> None:
    """Let go what the try before left half done: pins that hold no manifest, copies that are no location."""
    found = look(uow, task)
    for pin in found.left_pins:
        uploads.drop_pin(uow, pin.id, at=at)
    uow.loose.doom(found.left_copies)


def replace_staged(uow: UnitOfWork, task: Task, before: Staged, ready: Ready, *, at: datetime) -> None:
    """What was staged goes; what is staged next, in the same transaction, is what was made of it.

    Raises JobCancelled when it has gone already.
    """
    now = uow.tasks.get(task.id)
    if now is None or uow.staged.of_image(before.image_id) != before:
        raise JobCancelled(_GONE)
    uploads.drop_pin(uow, before.id, at=at)
    uow.tasks.save(ready.said_in(now))


def has_come(
    uow: UnitOfWork, task: Task, staged: Staged | None, location: Location, size: int | None, at: datetime
) -> None:
    """A store has its copy: it is the image's from now, which is active with it where one is enough, or the last.

    `size` is the virtual size.
    """
    image, plan = importing_image(uow, task), Plan.of(task)
    if location.manifest is None and not uow.loose.settle(location.url):
        raise JobCancelled(_GONE)
    before = image.status
    importing.has_come(image, location.store)
    is_last = set(plan.left(image)) <= {location.store}
    if before is Status.IMPORTING and staged is not None and (is_last or not plan.all_must_succeed):
        manifest = uow.manifests.get(staged.manifest)
        told = uploads.tells_change(uow, image, None if manifest is None else manifest.base)
        image.be_imported(_contents(staged, location, size, told=told), at=at)
        if (ready := _ready(uow, task, staged)) is not None:
            image.disk_format = ready.disk_format
        image.properties.update(plan.inject)
    else:
        image.locations = (*image.locations, location)
        image.be_changed(at=at)
    uow.images.save(image, expect=before)


def has_failed(uow: UnitOfWork, task: Task, store: str, *, at: datetime) -> None:
    """A store gets no copy, and the import goes on without it."""
    image = importing_image(uow, task)
    importing.has_failed(image, [store])
    image.be_changed(at=at)
    uow.images.save(image, expect=image.status)
    uow.loose.doom([copy for copy in _copies_of(uow, task) if copy.store == store])


def finish(uow: UnitOfWork, task: Task, *, at: datetime) -> Image:
    """All stores have their copies, or have failed: what was staged goes, unless it is the image's.

    Raises JobFailed when the image has got no bytes.
    """
    image, plan = importing_image(uow, task), Plan.of(task)
    if not image.has_bytes:
        raise JobFailed(f"None of the stores could keep the image: {', '.join(plan.stores)}.")
    importing.end(image)
    image.be_changed(at=at)
    uow.images.save(image, expect=image.status)
    for pin in _pins_of(uow, task):
        uploads.drop_pin(uow, pin.id, at=at)
    for location in image.locations:
        if location.manifest is not None and not plan.copies:
            look_below(uow, image.id, location.manifest, at=at)
            manifest = uow.manifests.get(location.manifest)
            if manifest is not None and manifest.base is not None:
                # Its image may have gone since this was staged, when there was none here to be coalesced.
                let_go(uow, manifest.base, at=at)
    if image.os_hash_value is None or image.checksum is None:
        by = Requester(task.user, task.request_id)
        enqueue(uow, image_task(HASH, image_id=image.id, owner=image.owner, by=by, at=at))
    return image


def release(uow: UnitOfWork, task: Task, at: datetime) -> None:
    """A bad end: lets go of all that is the task's; the image is queued again unless it has what it was promised."""
    for pin in _pins_of(uow, task):
        uploads.drop_pin(uow, pin.id, at=at)
    uow.loose.doom(_copies_of(uow, task))
    image = uow.images.get(task.image_id or "")
    if image is None or image.properties.get(LOCK) != task.id:
        return
    plan, before = Plan.of(task), image.status
    lost = _lost_with(image, plan)
    importing.has_failed(image, plan.left(image))
    importing.end(image)
    if before is Status.IMPORTING:
        image.lose_import(at=at)
    else:
        image.locations = tuple(each for each in image.locations if each not in lost)
        image.be_changed(at=at)
    uow.images.save(image, expect=before)
    for location in lost:
        if location.manifest is not None:
            let_go(uow, location.manifest, at=at)
    let_go_copies(uow, image.id, lost, at=at)


def _ready(uow: UnitOfWork, task: Task, staged: Staged | None) -> Ready | None:
    """What the staged bytes are if they are made of those that came; the task is asked as it is by now."""
    now = uow.tasks.get(task.id)
    found = None if now is None else Ready.of(now)
    return found if found is not None and staged is not None and found.staged == staged.id else None


def _lost_with(image: Image, plan: Plan) -> Sequence[Location]:
    """The locations that go when an import ends badly: never the last ones that the image is read from."""
    if image.status is Status.IMPORTING:
        return image.locations
    new = [each for each in image.locations if each.store in plan.stores]
    stays = any(each.is_active for each in image.locations if each not in new)
    return new if plan.copies and plan.all_must_succeed and stays else ()


def _pins_of(uow: UnitOfWork, task: Task) -> Sequence[Pin]:
    pins = uow.pins.of_image(task.image_id or "")
    return [pin for pin in pins if pin.kind is UploadKind.JOB and pin.upload_id == task.id]


def _copies_of(uow: UnitOfWork, task: Task) -> Sequence[LooseCopy]:
    return [copy for copy in uow.loose.writing() if copy.holder == task.id]


def _contents(staged: Staged, location: Location, virtual_size: int | None, *, told: bool) -> Contents:
    return Contents(
        size=staged.size,
        checksum=staged.checksum,
        os_hash_algo=staged.os_hash_algo,
        os_hash_value=staged.os_hash_value,
        locations=(location,),
        changed_size=staged.changed_size if told else None,
        virtual_size=virtual_size,
    )
