"""Load and policy in one line: the first step of every use case on one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog import location_policy, policy
from catalog.model.errors import Forbidden, NotFound
from catalog.model.image import canonical_id, is_image_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork


def find_visible(uow: UnitOfWork, caller: Caller, image_id: str) -> Image | None:
    """The image, if there is one that the caller may know of; an id's case does not matter."""
    image = uow.images.get(canonical_id(image_id)) if is_image_id(image_id) else None
    return image if image is not None and policy.visible(caller, image) else None


def load_visible(uow: UnitOfWork, caller: Caller, image_id: str) -> Image:
    """The image, if the caller may know of it; NotFound says the same of unknown and of invisible ones."""
    image = find_visible(uow, caller, image_id)
    if image is None:
        raise NotFound(f"No image found with ID {image_id[:80]}.")
    return image


_ACTS: Final[Mapping[Callable[[Caller, Image], bool], str]] = {
    policy.may_modify: "change",
    policy.may_delete: "delete",
    policy.may_upload: "upload to",
    policy.may_coalesce: "coalesce",
    location_policy.may_copy: "copy",
}


def load_modifiable(
    uow: UnitOfWork, caller: Caller, image_id: str, may: Callable[[Caller, Image], bool] = policy.may_modify
) -> Image:
    """The image, if the policy says `may`; Forbidden when it may only be seen."""
    image = load_visible(uow, caller, image_id)
    if not may(caller, image):
        raise Forbidden(
            f"You are not permitted to {_ACTS[may]} image {image_id}; its owner's members and admins are, by default."
        )
    return image
