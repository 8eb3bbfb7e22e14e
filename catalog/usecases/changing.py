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
from catalog.usecases.access import load_modifiable
from catalog.usecases.attributes import typed_changes
from catalog.usecases.images import check_may_show
from catalog.usecases.protected import is_hidden, permitted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.model.caller import Caller
    from catalog.model.change import Change
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


async def change(services: Services, caller: Caller, image_id: str, changes: Sequence[Change]) -> Image:
    """Make these changes, each on what the one before left; gives the image.

    Raises Invalid, NotFound, Forbidden, Conflict (a property is not there, or is), LimitExceeded. Then nothing changed.
    """
    services.limits.check_changes(len(changes))
    asked = typed_changes(changes)
    rights = services.protection.rights(caller)

    def make(uow: UnitOfWork, image: Image) -> None:
        before = image.owner
        for each in asked:
            _check_may(caller, image, each)
            apply(image, permitted(rights, image, each))
        if any(each.name == PROPERTY for each in asked):
            check_cutting(image.properties)
        if image.owner != before:
            _hand_over(uow, image)

    if not asked:
        return await services.database.read(lambda uow: load_modifiable(uow, caller, image_id))
    # Whether that made a difference to a property that the caller may not read, the time would tell.
    blindly = any(is_hidden(rights, each.name) for each in asked)
    return await services.database.write(
        lambda uow: changed(services, uow, load_modifiable(uow, caller, image_id), partial(make, uow), always=blindly)
    )


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
    uow.images.change(before, image)
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
