"""What a backup reads of each disk: what was written since an image that has its mark, or all of it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpapi.client.vm.groups import load_group, newest_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.vm.groups import Group
    from httpapi.client.vm.machine import Disk, Mark
    from httpapi.wire.images import ImageRecord

FIRST = "it is the first backup"
ASKED = "--parent none asks for it"


@dataclass(frozen=True, slots=True)
class Reading:
    """`since` is the group by whose mark the disk is read, None for all of it; then `why` says why that is so.

    `parent` is the image that it is compared with, None if there is none.
    """

    disk: str
    since: str | None
    parent: ImageRecord | None
    why: str | None = None


async def load_groups(api: ImagesApi, marks: Sequence[Mark]) -> dict[str, Group | None]:
    """What is left at the service of the groups that the machine has marks of."""
    return {group: await load_group(api, group) for group in dict.fromkeys(each.group for each in marks)}


async def plan(
    api: ImagesApi,
    disk: Disk,
    marks: Sequence[Mark],
    groups: Mapping[str, Group | None],
    domain: str,
    project: str | None,
) -> Reading:
    """How to read one disk: by the newest mark that is of use, and whose image can be read."""
    own = [each for each in marks if each.disk == disk.name]
    images = {
        each.group: image
        for each in own
        if (group := groups[each.group]) is not None and (image := group.active.get(each.was)) is not None
    }
    known = [each for each in own if each.group in images]
    best = max(known, key=lambda each: (each.usable, images[each.group].created_at), default=None)
    if best is not None and best.usable:
        return Reading(disk.name, best.group, images[best.group])
    if best is not None:
        lost = (
            f"QEMU was killed or lost its power, or {disk.name} is another file now: what was written since image "
            f"{images[best.group].id} is not known"
        )
        return Reading(disk.name, None, images[best.group], lost)
    parent = await newest_image(api, domain, disk.name, project)
    return Reading(disk.name, None, parent, _why(disk, own, groups, parent))


def _why(disk: Disk, own: Sequence[Mark], groups: Mapping[str, Group | None], parent: ImageRecord | None) -> str:
    if own:
        gone = own[-1].group
        group = groups[gone]
        known = None if group is None else group.images.get(own[-1].was)
        state = "is gone" if known is None else f"is {known.status}"
        return f"the image of the backup {gone}, which its bitmap goes on from, {state}"
    if parent is None:
        return FIRST
    if not disk.marks:
        return "only a qcow2 disk has a bitmap that tells what was written"
    return (
        f"there is no bitmap from the last backup, image {parent.id}: QEMU was killed or lost its power since, "
        "or the disk is another one"
    )
