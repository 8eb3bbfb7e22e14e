"""Deleted images: bring one back, and list those that can be.

`images.delete` keeps them, `expiry.py` gives them up. Each is one transaction, and whichever finds the kept row has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from catalog import policy
from catalog.jobs.enqueueing import enqueue
from catalog.jobs.reading_lanes import lane_of_reading
from catalog.limits import can_be_stored
from catalog.model.deleted import KeptPage, KeptQuery
from catalog.model.errors import Conflict, Forbidden, Invalid, NotFound, TooLate
from catalog.model.image import canonical_id, is_image_id
from catalog.model.quota import Usage
from catalog.model.task import HASH, Requester, image_task
from catalog.usecases import quotas
from catalog.usecases.access import find_visible
from catalog.usecases.coalescing import let_go
from catalog.usecases.judging import judged
from catalog.usecases.task_queries import limit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.limits import Limits
    from catalog.model.caller import Caller
    from catalog.model.deleted import KeptImage
    from catalog.model.image import Image, Visibility
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

_KNOWN: Final = frozenset({"name", "marker", "limit"})


@dataclass(frozen=True, slots=True)
class Undeleted:
    """An image that is back, and the visibility that it had and has no more, if so."""

    image: Image
    lost: Visibility | None


async def undelete(services: Services, caller: Caller, image_id: str, *, request_id: str | None = None) -> Undeleted:
    """The image is as it was before it was deleted, but private if the caller may not make it as visible as it was.

    So what an administrator took down is not public again because its owner wants it back. Raises NotFound, Forbidden,
    Conflict (it is not deleted), TooLate (it is not kept, or not any more), QuotaExceeded.
    """
    by = Requester(caller.user, request_id)

    def bring_back(uow: UnitOfWork) -> Undeleted:
        kept = _load(uow, caller, image_id)
        if not policy.may_undelete(caller, kept.owner):
            raise Forbidden(
                f"You are not permitted to bring back image {kept.id}; its owner's members and admins are, by default."
            )
        quotas.check(services, uow, kept.owner, Usage(images=1, bytes=kept.size or 0))
        uow.deleted.restore(kept.id)
        image = uow.images.get(kept.id)
        assert image is not None, "it was restored in this transaction"
        before = image.visibility
        image.be_undeleted(shown=policy.may_show(caller, image.owner, before), at=services.clock())
        uow.images.save(image, expect=kept.status)
        _make_up_for(services, uow, image, by)
        return Undeleted(image, lost=None if image.visibility is before else before)

    back = await services.database.write(bring_back)
    services.bell.ring()
    return back


async def list_kept(services: Services, caller: Caller, query: KeptQuery) -> KeptPage:
    """One page of the caller's project's deleted images that can be brought back, of all for an admin.

    Raises Forbidden, Invalid for a bad marker.
    """
    if not policy.may_list_deleted(caller):
        raise Forbidden("You are not permitted to list deleted images; by default that needs the role reader.")

    def page(uow: UnitOfWork) -> KeptPage:
        after = None if query.marker is None else _marker(uow, caller, query.marker)
        owner = None if caller.is_admin else caller.project
        if not policy.judges_lists(caller, "get_deleted_image"):
            return uow.deleted.page(owner, query, after)

        def page_behind(last: KeptImage | None, size: int) -> tuple[Sequence[KeptImage], bool]:
            found = uow.deleted.page(owner, replace(query, limit=size), last)
            return found.images, found.more

        return KeptPage(*judged(page_behind, lambda kept: policy.kept_visible(caller, kept.owner), after, query.limit))

    return await services.database.read(page)


def parse_kept_query(pairs: Sequence[tuple[str, str]], limits: Limits) -> KeptQuery:
    """Read a list's parameters `name`, `marker`, `limit`; of one that is repeated the last counts. Raises Invalid."""
    given = dict(pairs)
    for name, value in pairs:
        if name not in _KNOWN:
            raise Invalid(f"Invalid parameter {name[:40]!r}; it is one of {', '.join(sorted(_KNOWN))}.")
        if not can_be_stored(value):
            raise Invalid(f"The parameter {name} holds a NUL or half of a surrogate pair; remove it.")
    return KeptQuery(name=given.get("name"), marker=given.get("marker"), limit=limit_of(given.get("limit"), limits))


def _load(uow: UnitOfWork, caller: Caller, image_id: str) -> KeptImage:
    kept = _find(uow, caller, image_id)
    if kept is not None:
        return kept
    if (image := find_visible(uow, caller, image_id)) is not None:
        raise Conflict(f"Image {image.id} is {image.status.value}, not deleted: there is nothing to bring back.")
    former = uow.deleted.former(canonical_id(image_id)) if is_image_id(image_id) else None
    if former is not None and policy.may_undelete(caller, former.owner):
        raise TooLate(f"Image {former.id} was deleted and is not kept any more: it cannot be brought back.")
    raise NotFound(f"No deleted image found with ID {image_id[:80]}.")


def _find(uow: UnitOfWork, caller: Caller, image_id: str) -> KeptImage | None:
    """The kept image, if it is one of those that the caller may know of."""
    kept = uow.deleted.get(canonical_id(image_id)) if is_image_id(image_id) else None
    return kept if kept is not None and policy.kept_visible(caller, kept.owner) else None


def _marker(uow: UnitOfWork, caller: Caller, image_id: str) -> KeptImage:
    kept = _find(uow, caller, image_id)
    if kept is None:
        raise Invalid(f"The marker {image_id[:80]!r} is no deleted image that you may see; begin the list anew.")
    return kept


def _make_up_for(services: Services, uow: UnitOfWork, image: Image, by: Requester) -> None:
    """What the deletion cancelled, or what would have been done had the image been there."""
    at = image.updated_at
    if image.os_hash_value is None or image.checksum is None:
        task = image_task(HASH, image_id=image.id, owner=image.owner, by=by, at=at)
        enqueue(uow, task, lane=lane_of_reading(services, image))
    for location in image.locations:
        manifest = None if location.manifest is None else uow.manifests.get(location.manifest)
        if manifest is not None and manifest.base is not None:
            let_go(uow, manifest.base, at=at)
