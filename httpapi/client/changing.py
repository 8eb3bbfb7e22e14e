"""Changing what is said of an image, at the client's end: attributes by one request, tags by one each."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from httpapi.client.answers import read_json
from httpapi.client.record import read_record
from httpapi.wire.patches import Dialect, patch_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord
    from httpapi.wire.patches import PatchOperation


async def change_image(api: ImagesApi, image_id: str, operations: Sequence[PatchOperation]) -> ImageRecord:
    """All of these changes, or none; gives the image. Its own errors are Conflict, NotFound, ApiError (403, 400)."""
    path = f"/images/{quote(image_id, safe='')}"
    headers = {"Content-Type": Dialect.RFC_6902.value}
    async with api.request("PATCH", path, json=patch_document(operations), headers=headers) as response:
        with api.network():
            return read_record(await read_json(response))


async def add_tag(api: ImagesApi, image_id: str, tag: str) -> None:
    """The image has the tag; it may have it already."""
    async with api.request("PUT", _path(image_id, tag)):
        pass


async def remove_tag(api: ImagesApi, image_id: str, tag: str) -> None:
    """The image loses the tag; NotFound when it has none such."""
    async with api.request("DELETE", _path(image_id, tag)):
        pass


async def act_on(api: ImagesApi, image_id: str, action: str) -> None:
    """`deactivate` or `reactivate` an image; it may be so already."""
    async with api.request("POST", f"/images/{quote(image_id, safe='')}/actions/{action}"):
        pass


def _path(image_id: str, tag: str) -> str:
    return f"/images/{quote(image_id, safe='')}/tags/{quote(tag, safe='')}"
