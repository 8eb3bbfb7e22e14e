"""Backups at the service: the images of one run are a group, known by their properties alone.

A group's id is that of its first image. Members count only if they are of one owner, the first one's as long as it is
there: nobody's public image can push its way into another one's backup.
"""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import Ambiguous, ClientError, NoSuchImage, NotFound
from httpapi.client.names import find_image
from httpapi.client.record import is_image_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord

GROUP: Final = "drystone_backup_group"
DISK: Final = "drystone_backup_disk"
DISKS: Final = "drystone_backup_disks"
"""The names of all disks of the run, separated by spaces."""
DOMAIN: Final = "drystone_backup_domain"
"""What the machine's backups are called, its own name if nothing else was said."""
IMAGE: Final = "drystone_backup_image"
"""The image's own id. Whatever inherits its properties (a conversion, a snapshot of a machine that was started from
it) has other bytes, and is of no backup."""
MACHINE: Final = "drystone_backup_machine"
"""What the machine is to be made of again, on the first image alone."""
_LONGEST: Final = 60_000
_PACKED: Final = "zlib:"
_MOST_UNPACKED: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Group:
    """The images of one run by disk; `wanted` are all that belong to it."""

    id: str
    domain: str
    wanted: tuple[str, ...]
    images: Mapping[str, ImageRecord]

    @property
    def active(self) -> dict[str, ImageRecord]:
        """Those that can be read."""
        return {disk: image for disk, image in self.images.items() if image.status == "active"}

    @property
    def missing(self) -> list[str]:
        """The disks of which there is no image, or none that can be read."""
        return [each for each in self.wanted if each not in self.active]

    @property
    def created_at(self) -> str:
        """When its first image was made."""
        return min(image.created_at for image in self.images.values())

    @property
    def machine(self) -> str | None:
        """What the machine is to be made of again; None if that is not told."""
        found = [text for image in self.images.values() if (text := image.properties.get(MACHINE))]
        return unpacked(found[0]) if found else None


def properties_of(image: str, group: str, disk: str, disks: Sequence[str], domain: str) -> dict[str, str]:
    """What an image of a backup says of it."""
    return {GROUP: group, IMAGE: image, DISK: disk, DISKS: " ".join(disks), DOMAIN: domain}


def packed(machine: str) -> str | None:
    """A machine's description as a property has it; None if it is too long however it is put."""
    text = machine
    if len(machine) > _LONGEST:
        text = _PACKED + base64.b64encode(zlib.compress(machine.encode(), 9)).decode()
    return text if len(text) <= _LONGEST else None


def unpacked(text: str) -> str | None:
    """The description that `packed` was given; None for what is none."""
    if not text.startswith(_PACKED):
        return text
    try:
        stream = zlib.decompressobj()
        machine = stream.decompress(base64.b64decode(text.removeprefix(_PACKED), validate=True), _MOST_UNPACKED)
        return machine.decode() if stream.eof else None
    except (ValueError, zlib.error):
        return None


async def load_group(api: ImagesApi, group_id: str) -> Group | None:
    """The group of that id as it is now; None if nothing of it is left."""
    found = [image async for image in _listed(api, GROUP, group_id)]
    with suppress(NotFound):
        first = await api.get_image(group_id)
        found = [image for image in found if image.owner == first.owner]
    return _group(group_id, found)


async def find_groups(api: ImagesApi, domain: str | None, project: str | None) -> list[Group]:
    """The caller's own, the newest first; of the machine whose backups are called `domain`, else of all.

    ClientError where it can't be told whose they are.
    """
    images = [image async for image in _listed(api, DOMAIN, domain)]
    own = [image for image in images if image.owner == project] if project is not None else images
    if len({image.owner for image in own}) > 1:
        raise ClientError("several projects have such backups: say with DRYSTONE_PROJECT which is yours")
    members: dict[str, list[ImageRecord]] = {}
    for image in own:
        members.setdefault(image.properties.get(GROUP, image.id), []).append(image)
    groups = [_group(group_id, found) for group_id, found in members.items()]
    # Stable: a list is newest first, also of two in one second.
    return sorted((each for each in groups if each is not None), key=lambda each: each.created_at, reverse=True)


async def find_group(api: ImagesApi, text: str, project: str | None) -> Group:
    """What `text` means: the name of a machine's backups, the newest that is whole; a group's id; one of its images."""
    if not is_image_id(text):
        named = await find_groups(api, text, project)
        whole = [each for each in named if not each.missing]
        if named:
            return (whole or named)[0]
    elif (group := await load_group(api, text)) is not None:
        return group
    try:
        image = await find_image(api, text, project=project)
    except Ambiguous as several:
        groups = {each.properties.get(GROUP) for each in several.candidates if hasattr(each, "properties")}
        if len(groups) == 1 and (only := groups.pop()) is not None and (group := await load_group(api, only)):
            return group
        raise
    except NoSuchImage:
        raise ClientError(
            f"no backup has the name or id {text!r}, and no image of one: `drystone vm ls` lists them"
        ) from None
    group_id = image.properties.get(GROUP)
    group = None if group_id is None else await load_group(api, group_id)
    if group is None:
        raise ClientError(f"image {image.id} is of no backup of a machine: `drystone pull` brings it back")
    return group


async def newest_image(api: ImagesApi, domain: str, disk: str, project: str | None) -> ImageRecord | None:
    """Of the last backup of that disk that can be read."""
    found = [each.active[disk] for each in await find_groups(api, domain, project) if disk in each.active]
    return found[0] if found else None


async def _listed(api: ImagesApi, key: str, value: str | None) -> AsyncIterator[ImageRecord]:
    """All images of backups with this property, of this value if one is given."""
    for hidden in ("false", "true"):
        query = [("os_hidden", hidden)] if value is None else [("os_hidden", hidden), (key, value)]
        async for image in api.list_images(query):
            told = image.properties.get(key)
            if told is not None and value in {None, told} and image.properties.get(IMAGE) == image.id:
                yield image


def _group(group_id: str, images: Sequence[ImageRecord]) -> Group | None:
    members: dict[str, ImageRecord] = {}
    for image in images:
        disk = image.properties.get(DISK)
        if disk is not None and (disk not in members or image.status == "active"):
            members[disk] = image
    if not members or len({image.owner for image in members.values()}) > 1:
        return None
    first = next(iter(members.values()))
    wanted = tuple(first.properties.get(DISKS, "").split()) or tuple(members)
    ordered = {disk: members[disk] for disk in (*wanted, *members) if disk in members}
    return Group(group_id, first.properties.get(DOMAIN, ""), wanted, ordered)
