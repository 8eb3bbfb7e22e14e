"""Deleted images at the client's end: which can be brought back, what a user means by one, and bringing it back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from httpapi.client.answers import following, read_json
from httpapi.client.errors import Ambiguous, ApiError, ClientError, NoDeletedImage, NotAnImageService, is_no_route
from httpapi.client.names import digits_of, looks_like_prefix
from httpapi.client.record import is_image_id, read_record
from httpapi.wire.deleted import LOST_HEADER, DeletedRecord, parse_deleted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord

_PAGE: Final = 1000


async def list_deleted(api: ImagesApi, name: str | None = None) -> AsyncIterator[DeletedRecord]:
    """All deleted images that the caller might bring back, of this name, the last deleted first."""
    text = urlencode([("limit", str(_PAGE))] + ([] if name is None else [("name", name)]))
    while text:
        with _known_there():
            page = await api.ask("GET", f"/deleted?{text}")
        if not isinstance(page, dict) or not isinstance(page.get("deleted"), list):
            raise NotAnImageService("the answer is no list of deleted images: check --endpoint")
        for record in page["deleted"]:
            yield _read(record)
        text = following(page.get("next"), text)


async def undelete_image(api: ImagesApi, image_id: str) -> tuple[ImageRecord, str | None]:
    """The image is there again; its record, and the visibility that it lost, if it is private for that.

    NotFound, or an ApiError that says why not.
    """
    path = f"/images/{quote(image_id, safe='')}/actions/undelete"
    with _known_there():
        async with api.request("POST", path) as response:
            with api.network():
                return read_record(await read_json(response)), response.headers.get(LOST_HEADER)


async def find_deleted(api: ImagesApi, text: str, *, project: str | None, every: bool = False) -> Sequence[str]:
    """The ids of the deleted images that `text` means: an id, the beginning of one, or a name.

    One, unless `every` asks for all of a name. A full id is taken as it is. Raises NoDeletedImage, Ambiguous.
    """
    if is_image_id(text):
        return [text.lower()]
    known = [image async for image in list_deleted(api)]
    begun = [image for image in known if looks_like_prefix(text) and digits_of(image.id).startswith(digits_of(text))]
    named = [image for image in known if image.name == text]
    named = [image for image in named if image.owner == project] or named
    found = list({image.id: image for image in (*begun, *named)}.values())
    if not found:
        raise NoDeletedImage(text)
    if len(found) > 1 and not (every and not begun and len({image.owner for image in found}) == 1):
        raise Ambiguous(text, found)
    return [image.id for image in found]


@contextmanager
def _known_there() -> Iterator[None]:
    """A server without such routes is told from one that knows no such image."""
    try:
        yield
    except ApiError as failure:
        if is_no_route(failure):
            raise ClientError("the server does not keep deleted images: what is deleted there is gone") from failure
        raise


def _read(document: object) -> DeletedRecord:
    try:
        record = parse_deleted(document) if isinstance(document, dict) else None
    except KeyError:
        record = None
    if record is None or not is_image_id(record.id):
        raise NotAnImageService("the answer is no list of deleted images: check --endpoint")
    return record
