"""Changing what is said of an image: attributes, all of a request's or none.

Read, changed and written in one transaction, so two requests at once come one after the other, and neither's change is
lost; nor is it by an upload under way, whose commit reads the image in its own transaction.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from catalog import policy
from catalog.cutting import PROPERTY, check_cutting
from catalog.model.change import apply
from catalog.model.errors import Forbidden
from catalog.model.image import Visibility
from catalog.model.task import Requester
from catalog.usecases.access import load_modifiable
from catalog.usecases.attributes import typed_change
from catalog.usecases.images import check_may_show
from catalog.usecases.location_changes import (
    LOCATIONS,
    Changing,
    LocationChange,
    apply_to_locations,
    look_at_places,
    read_change,
)
from catalog.usecases.locations import let_go_blocks
from catalog.usecases.protected import is_hidden, permitted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.model.caller import Caller
    from catalog.model.change import Change
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


async def change(
    services: Services, caller: Caller, image_id: str, changes: Sequence[Change], *, request_id: str | None = None
) -> Image:
    """Make these changes, each on what the one before left; gives the image. Tasks that follow bear `request_id`.

    Raises Invalid, NotFound, Forbidden, Conflict (a property is not there, or is), LimitExceeded, QuotaExceeded. Then
    nothing changed.
    """
    services.limits.check_changes(len(changes))
    asked = [read_change(services, each) if each.name == LOCATIONS else typed_change(each) for each in changes]
    rights = services.protection.rights(caller)
    places = Changing(services, caller, Requester(caller.user, request_id))
    if of_places := [each for each in asked if isinstance(each, LocationChange)]:
        places.found = await look_at_places(services, caller, image_id, of_places)

    def make(uow: UnitOfWork, image: Image) -> None:
        before = image.owner
        for each in asked:
            if isinstance(each, LocationChange):
                apply_to_locations(uow, places, image, each)
                continue
            _check_may(caller, image, each)
            apply(image, permitted(rights, image, each))
        if any(each.name == PROPERTY for each in changes):
            check_cutting(image.properties)
        if image.owner != before:
            _hand_over(uow, image)

    if not asked:
        return await services.database.read(lambda uow: load_modifiable(uow, caller, image_id))
    # Whether that made a difference to a property that the caller may not read, the time would tell.
    blindly = any(is_hidden(rights, each.name) for each in changes)

    def write(uow: UnitOfWork) -> Image:
        places.gone.clear()
        image = load_modifiable(uow, caller, image_id)
        after = changed(services, uow, image, partial(make, uow), always=blindly)
        let_go_blocks(uow, places.gone, at=after.updated_at)
        return after

    image = await services.database.write(write)
    if of_places:
        services.bell.ring()
    return image


def changed(
    services: Services, uow: UnitOfWork, image: Image, make: Callable[[Image], None], *, always: bool = False
) -> Image:
    """The image after `make`, which is written if it made a difference; then the time of the last change is now.

    `always`: as if it had made one. `image` was loaded in this transaction. Raises what `make` does, and LimitExceeded,
    Invalid.
    """
    before = image.copy()
    make(image)
    if image == before and not always:
        return image
    services.limits.check_changed_image(before, image)
    image.be_changed(at=services.clock())
    if image.locations == before.locations:
        uow.images.change(before, image)
    else:
        uow.images.save(image, expect=before.status)
    return image


def _hand_over(uow: UnitOfWork, image: Image) -> None:
    """The new owner is no member of its own image, and learns nothing of a parent that it does not see."""
    member = None if image.owner is None else uow.members.get(image.id, image.owner)
    if member is not None:
        uow.members.remove(member)
        image.members -= {member.id}
    parent = None if image.parent is None else uow.images.get(image.parent)
    if image.parent is not None and (parent is None or not policy.reached_by(image.owner, parent)):
        image.changed_size = None


def _check_may(caller: Caller, image: Image, change: Change) -> None:
    if change.name == "owner" and not policy.may_give_away(caller):
        raise Forbidden("You are not permitted to change the owner of an image; an admin is, by default.")
    if isinstance(change.value, Visibility):
        check_may_show(caller, image.owner, change.value)
