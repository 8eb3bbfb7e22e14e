"""Who may do what; the whole of it, to be read in one go.

DEFAULTS are the rules, by the names that the reference has for them, and by names of ours where it knows no such act.
An operator's file may put others in their place (`Caller.rules`). What stands in no rule, and no file can change:

- **Reach.** A caller who is no admin reaches images of the own project, public and community ones, and shared ones
  whose member the project is. Rules judge within that: `get_image` can hide more of it, and show nothing else. So a
  list is read off indexes, and only where `get_image` was changed each image is judged, too. Of tasks, and of deleted
  images that can be brought back, those of the own project are in reach.
- What a caller may not see is "not found", whatever is tried on it; only what is visible is "forbidden".
- A deactivated image is downloaded by admins alone.
- An admin is a member too, and a member a reader. An image without an owner is the admins'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog import location_rules
from catalog.metadefs import rules as metadef_rules
from catalog.model.image import Status, Visibility
from catalog.model.query import Scope
from catalog.rule_targets import DEFAULT, NONE, NOT_SERVED, TARGETS
from catalog.rules import Rules, join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.query import ImageQuery
    from catalog.model.task import Task

DEFAULTS: Final[Mapping[str, str]] = {
    # For others to refer to.
    "context_is_admin": "role:admin",
    "service_api": "role:service or service_roles:service or role:admin",
    "owners_reader": "rule:context_is_admin or (role:reader and project_id:%(owner)s)",
    "owners_member": "rule:context_is_admin or (role:member and project_id:%(owner)s)",
    "shown": "project_id:%(owner)s or project_id:%(member_id)s or rule:shown_to_all",
    "shown_to_all": "'community':%(visibility)s or 'public':%(visibility)s",
    # Images. %(member_id)s is the caller's project if the image is shared with it.
    "add_image": "rule:owners_member",
    "get_images": "role:reader",
    "get_image": "rule:context_is_admin or (role:reader and rule:shown)",
    "download_image": "rule:context_is_admin or (role:member and rule:shown)",
    "upload_image": "rule:owners_member",
    "modify_image": "rule:owners_member",
    "delete_image": "rule:owners_member",
    "publicize_image": "rule:context_is_admin",
    "communitize_image": "rule:owners_member",
    "deactivate": "rule:owners_member",
    "reactivate": "rule:owners_member",
    # Members. %(member_id)s is the member's project.
    "add_member": "rule:owners_member",
    "get_members": "rule:context_is_admin or (role:reader and (project_id:%(owner)s or project_id:%(member_id)s))",
    "get_member": "rule:context_is_admin or (role:reader and (project_id:%(owner)s or project_id:%(member_id)s))",
    "modify_member": "rule:context_is_admin or (role:member and project_id:%(member_id)s)",
    "delete_member": "rule:owners_member",
    # Tasks.
    "get_tasks": "role:reader",
    "get_task": "rule:owners_reader",
    # There it stands before reading, too.
    "tasks_api_access": "rule:context_is_admin",
    **metadef_rules.DEFAULTS,
    **location_rules.DEFAULTS,
    # Ours: the reference knows no such acts.
    "cancel_task": "rule:owners_member",
    "change_owner": "rule:context_is_admin",
    "coalesce_image": "rule:owners_member",
    "convert_image": "rule:context_is_admin or role:member",
    "get_deleted_images": "role:reader",
    "get_deleted_image": "rule:owners_reader",
    "undelete_image": "rule:owners_member",
}

_DEFAULT_RULES: Final = join(DEFAULTS, {}, TARGETS)
_SHOWN_BY_ID: Final = frozenset({Visibility.PUBLIC, Visibility.COMMUNITY})


def rules_with(given: Mapping[str, object], properties: Mapping[str, str] | None = None) -> Rules:
    """The default rules with an operator's in their place, and with those of who may do what with a property.

    Raises RuleRefused with all that is wrong.
    """
    further = {DEFAULT: "", **properties} if properties else {}
    return join({**DEFAULTS, **further}, given, {**TARGETS, **dict.fromkeys(further, NONE)}, idle=NOT_SERVED)


def visible(caller: Caller, image: Image) -> bool:
    """Whether the image exists, as far as the caller is told."""
    reached = is_own(caller, image.owner) or _shown_to(caller.project, image)
    return reached and allows(caller, "get_image", image)


def judges_lists(caller: Caller, rule: str) -> bool:
    """Whether each item of a list is to be judged, since the rule on one of them is not the default."""
    return rule in rules_of(caller).changed


def may_list(caller: Caller) -> bool:
    """Whether the caller may ask for lists of images at all."""
    return _allows_own(caller, "get_images", caller.project)


def may_list_tasks(caller: Caller) -> bool:
    """Whether the caller may ask for lists of tasks."""
    return _allows_own(caller, "get_tasks", caller.project)


def may_create_tasks(caller: Caller) -> bool:
    """Whether the caller may make tasks by asking for them."""
    return _allows_own(caller, "tasks_api_access", caller.project)


def may_list_deleted(caller: Caller) -> bool:
    """Whether the caller may ask for lists of deleted images."""
    return _allows_own(caller, "get_deleted_images", caller.project)


def may_create(caller: Caller, owner: str | None) -> bool:
    """Whether the caller may create images that belong to the project `owner`, or to none."""
    return _allows_own(caller, "add_image", owner)


def may_modify(caller: Caller, image: Image) -> bool:
    """Whether the caller may change the image."""
    return allows(caller, "modify_image", image)


def may_upload(caller: Caller, image: Image) -> bool:
    """Whether the caller may give the image bytes, at once or by a delta upload."""
    return allows(caller, "upload_image", image)


def may_delete(caller: Caller, image: Image) -> bool:
    """Whether the caller may delete the image."""
    return allows(caller, "delete_image", image)


def may_coalesce(caller: Caller, image: Image) -> bool:
    """Whether the caller may have the image made independent of its ancestors."""
    return allows(caller, "coalesce_image", image)


def kept_visible(caller: Caller, owner: str | None) -> bool:
    """Whether a deleted image of this owner's exists, as far as the caller is told: to others it is gone."""
    return is_own(caller, owner) and _allows_own(caller, "get_deleted_image", owner)


def may_undelete(caller: Caller, owner: str | None) -> bool:
    """Whether the caller may bring back an image of this owner's."""
    return is_own(caller, owner) and _allows_own(caller, "undelete_image", owner)


def may_show(caller: Caller, owner: str | None, visibility: Visibility) -> bool:
    """Whether the caller may give this visibility to an image of this owner's."""
    rule = "publicize_image" if visibility is Visibility.PUBLIC else "communitize_image"
    return visibility not in _SHOWN_BY_ID or _allows_own(caller, rule, owner)


def may_download(caller: Caller, image: Image) -> bool:
    """Whether the caller may have the image's bytes."""
    if image.status is Status.DEACTIVATED and not caller.is_admin:
        return False
    return visible(caller, image) and allows(caller, "download_image", image)


def may_inherit(caller: Caller, image: Image, parent: Image) -> bool:
    """Whether an upload into `image` may be compared with the parent's bytes.

    The project that has the image is told how much of it is not the parent's. So an admin who uploads for others, who
    may have named as its parent what they cannot read, does not make them know it.
    """
    own = not caller.is_admin and _owns(caller, image.owner)
    return may_download(caller, parent) and (own or reached_by(image.owner, parent))


def may_know_change(caller: Caller, image: Image, *, parent_told: bool, parent_visible: bool) -> bool:
    """Whether the caller, who sees the image, may know how much of it is not its parent's.

    It tells of both: whoever sees the parent may, and the project that has the image, for which it was compared.
    `parent_told`: the caller may know whether there is one; else this would tell.
    """
    return is_own(caller, image.owner) or (parent_told and (image.parent is None or parent_visible))


def reached_by(project: str | None, image: Image) -> bool:
    """Whether whoever calls from this project can see the image by its id; `image` has all its members."""
    return image.owner == project or _shown_to(project, image)


def may_give_away(caller: Caller) -> bool:
    """Whether the caller may make an image another project's."""
    return _allows_own(caller, "change_owner", None)


def may_deactivate(caller: Caller, image: Image) -> bool:
    """Whether the caller may keep the image's bytes from everybody but admins."""
    return allows(caller, "deactivate", image)


def may_reactivate(caller: Caller, image: Image) -> bool:
    """Whether the caller may undo that."""
    return allows(caller, "reactivate", image)


def may_add_member(caller: Caller, image: Image) -> bool:
    """Whether the caller may share the image with another project."""
    return allows(caller, "add_member", image)


def may_delete_member(caller: Caller, image: Image, project: str) -> bool:
    """Whether the caller may take the image from a project that it is shared with: not the project itself."""
    return allows(caller, "delete_member", image, member=project)


def may_list_members(caller: Caller, image: Image) -> bool:
    """Whether the caller, who sees the image, may ask with whom it is shared."""
    return allows(caller, "get_members", image)


def may_see_member(caller: Caller, image: Image, project: str) -> bool:
    """Whether the caller, who sees the image, may know that it is shared with the project."""
    return allows(caller, "get_member", image, member=project)


def may_answer(caller: Caller, image: Image, project: str) -> bool:
    """Whether the caller may say what the project thinks of the image: not the image's owner."""
    return allows(caller, "modify_member", image, member=project)


def task_visible(caller: Caller, task: Task) -> bool:
    """Whether the task exists, as far as the caller is told."""
    return is_own(caller, task.owner) and rules_of(caller).allow("get_task", caller, _task_target(task))


def may_cancel(caller: Caller, task: Task) -> bool:
    """Whether the caller may end the task."""
    return rules_of(caller).allow("cancel_task", caller, _task_target(task))


def listing_scope(caller: Caller, query: ImageQuery) -> Scope:
    """Whose images a listing reaches: the own, the public, what is shared; community ones only when asked for."""
    if query.every_visibility:
        others = _SHOWN_BY_ID
    elif query.visibility is None:
        others = frozenset({Visibility.PUBLIC})
    else:
        others = _SHOWN_BY_ID & {query.visibility}
    shared = query.every_visibility or query.visibility in {None, Visibility.SHARED}
    answers = query.answers if shared else frozenset()
    return Scope(everything=caller.is_admin, project=caller.project, others=others, answers=answers)


def rules_of(caller: Caller) -> Rules:
    """The rules that hold for the caller."""
    return caller.rules or _DEFAULT_RULES


def allows(caller: Caller, rule: str, image: Image, *, member: str | None = None) -> bool:
    """Whether this rule lets the caller do it to the image."""
    if member is None and image.is_shared_with(caller.project):
        member = caller.project
    target: dict[str, object] = owned_by(image.owner) | {
        "id": image.id,
        "name": image.name,
        "visibility": image.visibility.value,
        "status": image.status.value,
        "protected": image.protected,
        "os_hidden": image.os_hidden,
    }
    return rules_of(caller).allow(rule, caller, target if member is None else target | {"member_id": member})


def _allows_own(caller: Caller, rule: str, owner: str | None) -> bool:
    return rules_of(caller).allow(rule, caller, owned_by(owner))


def _task_target(task: Task) -> dict[str, object]:
    return owned_by(task.owner) | {"id": task.id, "type": task.type, "status": task.status.value}


def owned_by(owner: str | None) -> dict[str, object]:
    """A target's owner, by three names, as the reference's rules have them."""
    return {"owner": owner, "project_id": owner, "tenant": owner}


def _shown_to(project: str | None, image: Image) -> bool:
    """Whether a project that does not own the image can see it by its id."""
    return image.visibility in _SHOWN_BY_ID or image.is_shared_with(project)


def is_own(caller: Caller, owner: str | None) -> bool:
    """Whether what has this owner is the caller's own; everything is an admin's."""
    return caller.is_admin or _owns(caller, owner)


def _owns(caller: Caller, owner: str | None) -> bool:
    return owner is not None and owner == caller.project
