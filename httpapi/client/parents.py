"""Which image a push is compared with: the one that was named, or the newest own one of the same name."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from httpapi.client.errors import ApiError, NotFound, is_no_route
from httpapi.client.names import find_image, name_filter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.block_file import Readable
    from httpapi.client.push_terms import PushWish
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord

NO_PARENT: Final = "none"


async def find_parent(
    api: ImagesApi, asked: str | None, want: Mapping[str, object], project: str | None, report: Report
) -> ImageRecord | None:
    """The parent of an image with the attributes `want`, None for none; `asked` is what the user said of it.

    Without a word from the user it is the newest active image of the same name and formats that is the caller's own,
    and `report` is told. `project` is the caller's; without it, images of one name in several projects are none's own.
    None with a note, too, on a server that knows nothing of parents. Raises as `find_image` does.
    """
    if asked == NO_PARENT:
        return None
    if asked is not None:
        parent: ImageRecord | None = await find_image(api, asked, project=project)
    else:
        parent = await _newest(api, want, project)
    if parent is None:
        return None
    if not await _knows_parents(api, parent):
        report.note("the server has no delta sync: the whole image is sent")
        return None
    if asked is None:
        report.tell(told_of(parent))
    return parent


async def find_parent_below(
    api: ImagesApi, file: Readable, want: Mapping[str, object], wish: PushWish, report: Report
) -> ImageRecord | None:
    """Of an overlay that is no image's next version: the image that was made of what it lies over, told; or None."""
    for below in file.below():
        made = () if below.stamp is None else wish.cache.manifests_of(below.stamp).values()
        for image_id in made:
            with suppress(NotFound):
                image = await api.get_image(image_id)
                formats = (want.get("disk_format"), want.get("container_format"))
                if image.status == "active" and (image.disk_format, image.container_format) == formats:
                    report.tell(f"{file.name} lies over {below.name}, which is image {image.id}: its parent")
                    return image
    return None


def told_of(parent: ImageRecord) -> str:
    """The sentence that says which image was taken."""
    return (
        f"only what differs from {parent.name} of {parent.created_at} ({parent.id}) is stored; "
        "--parent names another image, or none"
    )


def name_query(want: Mapping[str, object]) -> list[tuple[str, str]]:
    """What lists the images that may be the parent; nothing for an image without a name."""
    name = want.get("name")
    return [name_filter(name), ("status", "active")] if isinstance(name, str) and name else []


def is_own(image: ImageRecord, want: Mapping[str, object], project: str | None) -> bool:
    """Whether it is an active one of the same name and formats, and the caller's as far as that is known."""
    formats = (want.get("disk_format"), want.get("container_format"))
    return (
        image.name == want.get("name")
        and image.status == "active"
        and (image.disk_format, image.container_format) == formats
        and project in {None, image.owner}
    )


def newest_of(found: Sequence[ImageRecord]) -> ImageRecord | None:
    """The first, as a list is newest first: of two in one second, the server knows which. None of several owners'."""
    return found[0] if len({image.owner for image in found}) == 1 else None


async def _newest(api: ImagesApi, want: Mapping[str, object], project: str | None) -> ImageRecord | None:
    if not (query := name_query(want)):
        return None
    return newest_of([image async for image in api.list_images(query) if is_own(image, want, project)])


async def _knows_parents(api: ImagesApi, image: ImageRecord) -> bool:
    try:
        await api.ask("GET", f"/lineage?limit=1&id={quote(image.id, safe='')}")
    except ApiError as failure:
        if is_no_route(failure):
            return False
        raise
    return True
