"""Where images come from, as far as the caller may know: parents, and how much each image changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog import policy
from catalog.model.image import NOVAS_PARENT
from catalog.property_protection import Operation
from catalog.usecases.images import page_of

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.query import ImageQuery
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class Descent:
    """An image, its parent, whether the caller sees that (None: there is none), and the bytes that it changed, or None.

    A parent that was deleted and one that the caller may not see look the same. One that only a property names which
    the caller may not read is none.
    """

    image: Image
    parent: str | None
    parent_visible: bool | None
    changed_size: int | None


@dataclass(frozen=True, slots=True)
class LineagePage:
    """One page of a listing; `more` tells that images follow it."""

    descents: tuple[Descent, ...]
    more: bool


async def list_lineage(services: Services, caller: Caller, query: ImageQuery) -> LineagePage:
    """One page of the images that `list_images` would give, with their descent. Raises as it does."""

    def page(uow: UnitOfWork) -> LineagePage:
        found = page_of(services, uow, caller, query)
        told = services.protection.rights(caller).may(Operation.READ, NOVAS_PARENT)
        named = {image.parent for image in found.images if image.parent is not None}
        parents = uow.images.bare(named, project=caller.project)
        return LineagePage(
            tuple(_descent(caller, image, parents.get(image.parent or ""), told=told) for image in found.images),
            found.more,
        )

    return await services.database.read(page)


def _descent(caller: Caller, image: Image, parent: Image | None, *, told: bool) -> Descent:
    seen = parent is not None and policy.visible(caller, parent)
    named = image.parent if told else image.parent_image_ref
    may_know = policy.may_know_change(caller, image, parent_told=told or named is not None, parent_visible=seen)
    return Descent(
        image=image,
        parent=named,
        parent_visible=None if named is None else seen,
        changed_size=image.changed_size if may_know else None,
    )
