"""Coalescing: giving an image a whole manifest instead of a chain. Who may ask for it, and when it comes by itself.

What it is for: a deleted ancestor of a chain keeps its blocks until nothing is read through it any more, and a reader
of a chain reads each of its manifests. Two rules, looked at in the transaction that can make them true:

- a manifest that no image names has one child left: that child is coalesced, and then nothing needs the ancestor;
- a new increment's ancestors without an image hold more than DEAD_SHARE of its size in blocks that it does not read.

And one that a collection asks for: an image whose blocks it has just put in order (`join`). It says so before it begins
(`expect`), since nothing tells afterwards that a collection which was killed has put an image in order.

A manifest with many children stays, whatever became of its image: a golden image's ten thousand children must not
become ten thousand whole manifests.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from catalog import policy
from catalog.jobs.enqueueing import enqueue
from catalog.model.errors import Conflict
from catalog.model.task import COALESCE, Requester, TaskStatus, image_task, own_task
from catalog.usecases.access import load_modifiable
from catalog.usecases.bases import our_manifests

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

EXPECTED: Final = timedelta(hours=1)
"""After so long a collection that was to ask for something is taken for dead, and it comes without."""
DEAD_SHARE: Final = 0.25
"""The share of an image's size that ancestors without an image may hold in vain."""
# Of an image's tasks: the one that is under way is among the last.
_LOOKED_AT: Final = 100


async def coalesce(services: Services, caller: Caller, image_id: str, *, request_id: str | None = None) -> Task:
    """A task that gives the image a whole manifest; the owner's that is under way or has done it, if there is one.

    Raises NotFound, Forbidden, Conflict while the image has no data, NoBlocks.
    """

    def ask(uow: UnitOfWork) -> Task:
        image = load_modifiable(uow, caller, image_id, policy.may_coalesce)
        if not image.has_bytes:
            raise Conflict(f"Image {image.id} is {image.status.value} and has no data that could be coalesced.")
        our_manifests(uow, image, services.blocks.store)
        for task in uow.tasks.of_image(image.id, _LOOKED_AT):
            # A former owner's are not told to the present one.
            own = task.type == COALESCE and task.owner == image.owner
            if own and (not task.is_over or _has_done_it(uow, task, image)):
                return task
        by = Requester(caller.user, request_id)
        task = image_task(COALESCE, image_id=image.id, owner=image.owner, by=by, at=services.clock())
        enqueue(uow, task)
        return task

    task = await services.database.write(ask)
    services.bell.ring()
    return task


def _has_done_it(uow: UnitOfWork, task: Task, image: Image) -> bool:
    """Whether there is nothing left to do: whoever asks again and again makes no heap of tasks."""
    chains = (uow.manifests.chain(each.manifest) for each in image.locations if each.manifest is not None)
    return task.status is TaskStatus.SUCCESS and all(len(chain) == 1 for chain in chains)


def let_go(uow: UnitOfWork, manifest_id: str, *, at: datetime) -> None:
    """Something that named this manifest is gone: retire it if nothing does any more, or coalesce its last child."""
    left = uow.manifests.retire_unnamed(manifest_id)
    for image_id in () if left is None else uow.manifests.last_heirs(left):
        _enqueue(uow, image_id, at)


def look_below(uow: UnitOfWork, image_id: str, manifest_id: str, *, at: datetime) -> None:
    """A new increment: coalesce it if its ancestors without an image hold too much that it does not read."""
    chain = uow.manifests.ancestry(manifest_id)
    size = chain[0].manifest.size
    dead = sum(each.manifest.listed or 0 for each in chain[1:] if not each.has_image)
    hidden = sum(each.manifest.listed or 0 for each in chain) - size
    if min(dead, hidden) > DEAD_SHARE * size:
        _enqueue(uow, image_id, at)


def expect(uow: UnitOfWork, manifest_ids: AbstractSet[str], *, at: datetime) -> None:
    """As `join`, but later, and only if that does not come before."""
    _join(uow, manifest_ids, at, EXPECTED)


def join(uow: UnitOfWork, manifest_ids: AbstractSet[str], *, at: datetime) -> int:
    """Coalesce the images that have these manifests, if they have data; gives how many."""
    return _join(uow, manifest_ids, at, timedelta())


def _join(uow: UnitOfWork, manifest_ids: AbstractSet[str], at: datetime, after: timedelta) -> int:
    image_ids = {held.id for held in uow.inventory.images() if held.manifest in manifest_ids}
    images = [image for image in map(uow.images.get, sorted(image_ids)) if image is not None and image.has_bytes]
    for image in images:
        _enqueue(uow, image.id, at, after)
    return len(images)


def _enqueue(uow: UnitOfWork, image_id: str, at: datetime, after: timedelta = timedelta()) -> None:
    # The service's own: an owner who saw it would learn that another image, maybe not theirs, was deleted. One that a
    # user asked for does not count: it may be cancelled.
    pending = uow.tasks.own_pending(COALESCE, image_id)
    if pending is None:
        enqueue(uow, own_task(COALESCE, image_id=image_id, at=at), lock=image_id, run_at=at + after)
    else:
        uow.jobs.hasten(pending, run_at=at + after)
