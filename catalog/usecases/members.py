"""Sharing an image with other projects: who its members are, and what each says to it.

An image has members only while its visibility is `shared`. Those that it had are kept when it is shown to more or to
fewer, and count again when it is shared again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import policy
from catalog.limits import check_addressable, check_text
from catalog.model.errors import Forbidden, Invalid, NotFound
from catalog.model.image import Visibility
from catalog.model.member import Member, MemberStatus
from catalog.usecases.access import load_visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


async def add(services: Services, caller: Caller, image_id: str, project: str) -> Member:
    """A new member, `pending`. Raises NotFound, Forbidden, Invalid, Conflict (it is one), LimitExceeded."""
    _check_project(services, project)

    def keep(uow: UnitOfWork) -> Member:
        image = load_visible(uow, caller, image_id)
        if not policy.may_add_member(caller, image):
            raise Forbidden(
                f"You are not permitted to share image {image.id}; its owner's members and admins are, by default."
            )
        _check_shared(image)
        now = services.clock()
        member = Member(image_id=image.id, id=project, created_at=now, updated_at=now)
        uow.members.add(image, member)
        services.limits.check_members(len(image.members | {project}))
        return member

    return await services.database.write(keep)


async def list_members(services: Services, caller: Caller, image_id: str) -> Sequence[Member]:
    """Those of an image's members that the caller may know of. Raises NotFound, Forbidden when it is not shared."""

    def find(uow: UnitOfWork) -> Sequence[Member]:
        image = load_visible(uow, caller, image_id)
        _check_shared(image)
        if not policy.may_list_members(caller, image):
            raise Forbidden(f"You are not permitted to see with whom image {image.id} is shared.")
        return [each for each in uow.members.of_image(image.id) if policy.may_see_member(caller, image, each.id)]

    return await services.database.read(find)


async def show(services: Services, caller: Caller, image_id: str, project: str) -> Member:
    """One member. Raises NotFound: no such image or member, none that the caller may know of, or it is not shared."""
    return await services.database.read(lambda uow: _load(uow, caller, image_id, project)[1])


async def answer(services: Services, caller: Caller, image_id: str, project: str, status: str) -> Member:
    """The member says what it thinks of the image. Raises Invalid, NotFound, Forbidden: that is for itself to say."""
    said = _status_of(status)

    def save(uow: UnitOfWork) -> Member:
        image, member = _load_to_change(uow, caller, image_id, project)
        if not policy.may_answer(caller, image, member.id):
            raise Forbidden(
                f"You are not permitted to answer for project {member.id}; its own members and admins are, by default."
            )
        changed = member.answered(said, at=services.clock())
        uow.members.save(changed)
        return changed

    return await services.database.write(save)


async def remove(services: Services, caller: Caller, image_id: str, project: str) -> None:
    """The image is not shared with the project any more. Raises NotFound, Forbidden."""

    def drop(uow: UnitOfWork) -> None:
        image, member = _load_to_change(uow, caller, image_id, project)
        if not policy.may_delete_member(caller, image, member.id):
            raise Forbidden(
                f"You are not permitted to take image {image.id} from a project; its owner's members and admins "
                "are, by default. As a member, reject it instead."
            )
        uow.members.remove(member)

    await services.database.write(drop)


def _load(uow: UnitOfWork, caller: Caller, image_id: str, project: str) -> tuple[Image, Member]:
    image = load_visible(uow, caller, image_id)
    member = uow.members.get(image.id, project) if image.visibility is Visibility.SHARED else None
    if member is None or not policy.may_see_member(caller, image, project):
        raise NotFound(f"Image {image.id} has no member {project[:80]} that you may know of.")
    return image, member


def _load_to_change(uow: UnitOfWork, caller: Caller, image_id: str, project: str) -> tuple[Image, Member]:
    _check_shared(load_visible(uow, caller, image_id))
    return _load(uow, caller, image_id, project)


def _check_shared(image: Image) -> None:
    if image.visibility is not Visibility.SHARED:
        raise Forbidden(f"Image {image.id} is {image.visibility.value}; only images that are shared have members.")


def _check_project(services: Services, project: str) -> None:
    if not project:
        raise Invalid("Name the project that is to be a member of the image.")
    check_text("member", project, services.limits.name_length)
    check_addressable("member", project)


def _status_of(text: str) -> MemberStatus:
    try:
        return MemberStatus(text)
    except ValueError:
        raise Invalid(f"Invalid status {text[:40]!r}; it is one of {', '.join(sorted(MemberStatus))}.") from None
