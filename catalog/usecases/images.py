"""Create, show, list and delete images."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from catalog import policy
from catalog.cutting import check_cutting
from catalog.jobs import steps
from catalog.model.errors import CatalogFull, Forbidden, Invalid
from catalog.model.image import Image, Visibility, canonical_id, is_image_id
from catalog.model.query import ImagePage
from catalog.model.quota import Usage
from catalog.usecases import quotas, uploads
from catalog.usecases.access import find_visible, load_modifiable, load_visible
from catalog.usecases.coalescing import let_go
from catalog.usecases.copying import let_go_copies
from catalog.usecases.judging import judged
from catalog.usecases.protected import asks_for_hidden, check_may_create
from catalog.usecases.shown_places import tells_places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.model.caller import Caller
    from catalog.model.new_image import NewImage
    from catalog.model.pin import Pin
    from catalog.model.query import ImageQuery
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

T = TypeVar("T")


async def create(services: Services, caller: Caller, new: NewImage) -> Image:
    """A new, queued image.

    Raises Invalid, Forbidden, LimitExceeded, QuotaExceeded, or Conflict when the id is or was taken.
    """
    owner = caller.project if new.owner is None else new.owner
    _check_may_create(caller, owner, new.visibility)
    if new.id is not None and not is_image_id(new.id):
        raise Invalid(f"Invalid id {new.id[:80]!r}; it is a UUID such as {uuid.uuid4()}.")
    services.limits.check_new_image(new)
    check_cutting(new.properties)
    check_may_create(services.protection.rights(caller), new.properties)
    now = services.clock()
    image = Image(
        id=str(uuid.uuid4()) if new.id is None else canonical_id(new.id),
        owner=owner,
        created_at=now,
        updated_at=now,
        name=new.name,
        visibility=new.visibility,
        protected=new.protected,
        os_hidden=new.os_hidden,
        disk_format=new.disk_format,
        container_format=new.container_format,
        min_disk=new.min_disk,
        min_ram=new.min_ram,
        parent_image_ref=None if new.parent_image_ref is None else canonical_id(new.parent_image_ref),
        properties=dict(new.properties),
        tags=new.tags,
    )

    def add(uow: UnitOfWork) -> None:
        _check_parent(uow, caller, new.parent_image_ref)
        quotas.check(services, uow, image.owner, Usage(images=1))
        uow.images.add(image)

    await services.database.write(add)
    return image


async def show(services: Services, caller: Caller, image_id: str) -> Image:
    """One image. Raises NotFound when it is unknown or invisible."""
    return await services.database.read(lambda uow: load_visible(uow, caller, image_id))


async def list_images(services: Services, caller: Caller, query: ImageQuery) -> ImagePage:
    """One page of the images that the caller may list. Raises Forbidden, Invalid (an unknown marker)."""
    places = tells_places(services)
    return await services.database.read(lambda uow: page_of(services, uow, caller, query, places=places))


def page_of(
    services: Services, uow: UnitOfWork, caller: Caller, query: ImageQuery, *, places: bool = False
) -> ImagePage:
    """The same in a transaction that is open; with the images' locations if they are to be told."""
    if not policy.may_list(caller):
        raise Forbidden("You are not permitted to list images; by default that needs the role reader.")
    after = None if query.marker is None else _marker(uow, caller, query.marker)
    if asks_for_hidden(services.protection.rights(caller), query):
        return ImagePage(images=(), more=False)
    scope = policy.listing_scope(caller, query)
    if not policy.judges_lists(caller, "get_image"):
        return uow.images.page(scope, query, after, places=places)

    def page_behind(last: Image | None, size: int) -> tuple[Sequence[Image], bool]:
        page = uow.images.page(scope, replace(query, limit=size), last, places=places)
        return page.images, page.more

    return ImagePage(*judged(page_behind, lambda image: policy.visible(caller, image), after, query.limit))


async def delete(services: Services, caller: Caller, image_id: str) -> None:
    """Remove an image in any state; an upload under way then ends with Gone. Raises NotFound or Forbidden.

    One that has bytes can be brought back for a while, if the services keep deleted images.
    """

    def remove(uow: UnitOfWork) -> Sequence[Pin]:
        image = load_modifiable(uow, caller, image_id, policy.may_delete)
        if steps.cancel_of_image(uow, image.id, at=services.clock()):
            # What its tasks let go was the image's, or all of it.
            left = uow.images.get(image.id)
            if left is None:
                return ()
            image = left
        keep = services.keep_deleted > 0 and image.has_bytes
        image.be_deleted(at=services.clock())
        pins = uow.pins.of_image(image.id)
        for pin in pins:
            uploads.drop_pin(uow, pin.id, at=image.updated_at)
        if keep:
            uow.deleted.keep(image.id, at=image.updated_at)
        else:
            let_go_copies(uow, image.id, image.locations, at=image.updated_at)
        uow.images.remove(image)
        for location in image.locations:
            if location.manifest is not None:
                let_go(uow, location.manifest, at=image.updated_at)
        return pins

    for pin in await _with_room(services, remove):
        uploads.forget_left_behind(services, pin)
    services.bell.ring()


async def _with_room(services: Services, step: Callable[[UnitOfWork], T]) -> T:
    """Run a step that makes room; on a full disk once more, with the room that is kept for it."""
    try:
        return await services.database.write(step)
    except CatalogFull:
        if not services.make_room():
            raise
        return await services.database.write(step)


def _check_may_create(caller: Caller, owner: str, visibility: Visibility) -> None:
    if not policy.may_create(caller, owner):
        raise Forbidden(f"You are not permitted to create images owned by {owner[:255]!r}.")
    check_may_show(caller, owner, visibility)


def check_may_show(caller: Caller, owner: str | None, visibility: Visibility) -> None:
    """Refuse a visibility that the caller may not give to an image of this owner's: Forbidden."""
    if not policy.may_show(caller, owner, visibility):
        raise Forbidden(_NOT_SHOWN[visibility])


_NOT_SHOWN: Final = {
    Visibility.PUBLIC: "You are not permitted to make an image public; an admin is, by default.",
    Visibility.COMMUNITY: "You are not permitted to make this image a community image.",
}


def _check_parent(uow: UnitOfWork, caller: Caller, parent: str | None) -> None:
    # One sentence for unknown and for invisible ones: nobody learns what others have.
    if parent is not None and find_visible(uow, caller, parent) is None:
        raise Invalid(
            f"Invalid parent_image_ref {parent[:80]!r}; it is the id of an image that you may read, or left out."
        )


def _marker(uow: UnitOfWork, caller: Caller, marker: str) -> Image:
    image = find_visible(uow, caller, marker)
    if image is None:
        raise Invalid(f"Invalid marker {marker[:80]!r}; it is the id of the last image of the page before.")
    return image
