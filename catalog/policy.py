"""Who may do what; the whole of it, to be read in one go.

| act | who |
|---|---|
| see, list | admin; a reader: own images, public and community ones, and those that are shared with the project |
| download | whoever sees it, as a member; a deactivated image: admin only |
| create | admin; a member, for the own project; as a child: of an image that the caller sees |
| inherit blocks of a parent | whoever may download it, while it is active; an admin for others: if they see it, too |
| modify, upload, delete, undelete | admin; a member of the project that owns the image |
| see that a deleted image can be brought back | admin; a reader of the project that owned it |
| make community, coalesce, deactivate, reactivate, share with a project, take it from one | as modify |
| see that an image is shared with a project | admin; a reader of the image's owner, or of that project |
| say what a project thinks of an image that is shared with it | admin; a member of that project |
| make public, give to another project | admin |
| know how much a child changed | whoever sees it and its parent; admin; a reader of the project that owns it |
| see a task | admin; a reader of the project that owns it (an image's tasks: whoever sees the image) |
| cancel a task | admin; a member of the project that owns it |

An admin is a member too, and a member a reader. An image without an owner is the admin's. What a caller may not see
is "not found", never "forbidden".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.image import Status, Visibility
from catalog.model.query import Scope

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.query import ImageQuery
    from catalog.model.task import Task

_SHOWN_BY_ID: Final = frozenset({Visibility.PUBLIC, Visibility.COMMUNITY})


def visible(caller: Caller, image: Image) -> bool:
    """Whether the image exists, as far as the caller is told."""
    if caller.is_admin:
        return True
    return caller.has("reader") and (_owns(caller, image.owner) or _shown_to(caller.project, image))


def may_list(caller: Caller) -> bool:
    """Whether the caller may ask for lists at all."""
    return caller.has("reader")


def may_create(caller: Caller, owner: str) -> bool:
    """Whether the caller may create images that belong to the project `owner`."""
    return caller.is_admin or (caller.has("member") and _owns(caller, owner))


def may_modify(caller: Caller, image: Image) -> bool:
    """Whether the caller may change the image, give it bytes, or delete it."""
    return _may_change(caller, image.owner)


def kept_visible(caller: Caller, owner: str | None) -> bool:
    """Whether a deleted image of this owner's exists, as far as the caller is told: to others it is gone."""
    return caller.is_admin or (caller.has("reader") and _owns(caller, owner))


def may_undelete(caller: Caller, owner: str | None) -> bool:
    """Whether the caller may bring back an image of this owner's: whoever might delete it."""
    return _may_change(caller, owner)


def may_communitize(caller: Caller, owner: str | None) -> bool:
    """Whether the caller may show an image of this owner's to everybody who knows its id."""
    return _may_change(caller, owner)


def may_give_away(caller: Caller) -> bool:
    """Whether the caller may make an image another project's."""
    return caller.is_admin


def may_deactivate(caller: Caller, image: Image) -> bool:
    """Whether the caller may keep the image's bytes from everybody but admins."""
    return _may_change(caller, image.owner)


def may_reactivate(caller: Caller, image: Image) -> bool:
    """Whether the caller may undo that."""
    return _may_change(caller, image.owner)


def may_publicize(caller: Caller) -> bool:
    """Whether the caller may show an image to everybody."""
    return caller.is_admin


def may_download(caller: Caller, image: Image) -> bool:
    """Whether the caller may have the image's bytes."""
    if caller.is_admin:
        return True
    return caller.has("member") and visible(caller, image) and image.status is not Status.DEACTIVATED


def may_inherit(caller: Caller, image: Image, parent: Image) -> bool:
    """Whether an upload into `image` may be compared with the parent's bytes.

    The project that has the image is told how much of it is not the parent's. So an admin who uploads for others, who
    may have named as its parent what they cannot read, does not make them know it.
    """
    if not may_download(caller, parent):
        return False
    own = not caller.is_admin and _owns(caller, image.owner)
    return own or parent.owner == image.owner or _shown_to(image.owner, parent)


def may_know_change(caller: Caller, image: Image, *, parent_visible: bool) -> bool:
    """Whether the caller, who sees the image, may know how much of it is not its parent's.

    That tells of both. So whoever sees the parent may; and the project that has the image, for which it was compared.
    """
    return image.parent is None or parent_visible or caller.is_admin or _owns(caller, image.owner)


def task_visible(caller: Caller, task: Task) -> bool:
    """Whether the task exists, as far as the caller is told."""
    return caller.is_admin or (caller.has("reader") and _owns(caller, task.owner))


def may_cancel(caller: Caller, task: Task) -> bool:
    """Whether the caller may end the task."""
    return caller.is_admin or (caller.has("member") and _owns(caller, task.owner))


def listing_scope(caller: Caller, query: ImageQuery) -> Scope:
    """Whose images a listing reaches: the own, the public, what is shared; community ones only when asked for."""
    if query.every_visibility:
        others = _SHOWN_BY_ID
    elif query.visibility is None:
        others = frozenset({Visibility.PUBLIC})
    else:
        others = _SHOWN_BY_ID & {query.visibility}
    shared = query.every_visibility or query.visibility in {None, Visibility.SHARED}
    return Scope(
        everything=caller.is_admin,
        project=caller.project,
        others=others,
        answers=query.answers if shared else frozenset(),
    )


def may_add_member(caller: Caller, image: Image) -> bool:
    """Whether the caller may share the image with another project."""
    return may_modify(caller, image)


def may_delete_member(caller: Caller, image: Image) -> bool:
    """Whether the caller may take the image from a project that it is shared with: not the project itself."""
    return may_modify(caller, image)


def may_see_member(caller: Caller, image: Image, project: str) -> bool:
    """Whether the caller, who sees the image, may know that it is shared with the project: owner, and itself."""
    return caller.is_admin or (caller.has("reader") and (_owns(caller, image.owner) or _owns(caller, project)))


def may_answer(caller: Caller, image: Image, project: str) -> bool:  # noqa: ARG001 - the image's owner has no say
    """Whether the caller may say what the project thinks of the image: not the image's owner."""
    return caller.is_admin or (caller.has("member") and _owns(caller, project))


def _may_change(caller: Caller, owner: str | None) -> bool:
    return caller.is_admin or (caller.has("member") and _owns(caller, owner))


def _shown_to(project: str | None, image: Image) -> bool:
    """Whether a project that does not own the image sees it by its id."""
    return image.visibility in _SHOWN_BY_ID or image.is_shared_with(project)


def _owns(caller: Caller, owner: str | None) -> bool:
    return owner is not None and owner == caller.project
