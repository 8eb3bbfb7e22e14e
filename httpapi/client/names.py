"""What a user types for an image: its id, the beginning of its id, or its name.

- A full id means that image; only if there is none may it be a name.
- At least 6 hexadecimal digits (dashes don't count) mean the one image whose id begins so.
- A name means the newest active image of that name that is the caller's own; hidden ones only if no other has it.

An image that one reading finds and another image that the other reading finds are both candidates: then the
text is ambiguous, and it is the user who decides.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import Ambiguous, NoSuchImage, NotFound
from httpapi.client.record import is_image_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord

SHORTEST_PREFIX: Final = 6
_PREFIX = re.compile(r"[0-9a-f][0-9a-f-]*", re.IGNORECASE)


async def find_image(api: ImagesApi, text: str, *, project: str | None = None, newest: bool = True) -> ImageRecord:
    """The image that `text` means; NoSuchImage if none, Ambiguous if several.

    `project` is the caller's own; without it, one name in several projects is ambiguous. Without `newest`, so
    is one name on several images: for verbs that destroy.
    """
    if (image := await _by_id(api, text)) is not None:
        return image
    found = {image.id: image for image in await _by_prefix(api, text)}
    found |= {image.id: image for image in await _by_name(api, text, project=project, newest=newest)}
    if not found:
        raise NoSuchImage(text)
    if len(found) > 1:
        raise Ambiguous(text, [*sorted(found.values(), key=_age, reverse=True)])
    return next(iter(found.values()))


def looks_like_prefix(text: str) -> bool:
    """Whether `text` may be the beginning of an id."""
    return bool(_PREFIX.fullmatch(text)) and len(digits_of(text)) >= SHORTEST_PREFIX


def name_filter(name: str) -> tuple[str, str]:
    """The list's filter for exactly this name: it would read `debian:12` as an operator and a value."""
    return "name", f"eq:{name}" if ":" in name else name


async def _by_id(api: ImagesApi, text: str) -> ImageRecord | None:
    """The image with this id, as it was typed or else in lower case, as most services write theirs."""
    if not is_image_id(text):
        return None
    for image_id in dict.fromkeys((text, text.lower())):
        with suppress(NotFound):
            return await api.get_image(image_id)
    return None


async def _by_prefix(api: ImagesApi, text: str) -> list[ImageRecord]:
    if is_image_id(text) or not looks_like_prefix(text):
        return []
    wanted = digits_of(text)
    return [
        image
        for hidden in ("false", "true")
        async for image in api.list_images([("os_hidden", hidden)])
        if digits_of(image.id).startswith(wanted)
    ]


async def _by_name(api: ImagesApi, name: str, *, project: str | None, newest: bool) -> Sequence[ImageRecord]:
    """One image, or several if they leave a doubt, or none."""
    for hidden in ("false", "true"):
        query = [("os_hidden", hidden), name_filter(name)]
        named = [image async for image in api.list_images(query) if image.name == name]
        if named:
            return _choose(named, project=project, newest=newest)
    return []


def _choose(named: Sequence[ImageRecord], *, project: str | None, newest: bool) -> Sequence[ImageRecord]:
    mine = [image for image in named if image.owner == project] if project is not None else []
    mine = mine or list(named)
    if not newest:
        return mine
    active = [image for image in mine if image.status == "active"]
    if len({image.owner for image in active}) == 1:
        # The first of several of one second: a list is newest first, and the server's clock is finer than its text.
        return [max(active, key=lambda image: image.created_at)]
    return active or mine


def _age(image: ImageRecord) -> tuple[str, str]:
    return image.created_at, image.id


def digits_of(text: str) -> str:
    """An id, or the beginning of one, as it is compared."""
    return text.replace("-", "").lower()
