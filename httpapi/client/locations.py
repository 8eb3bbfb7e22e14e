"""Where an image's bytes lie, at the client's end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from httpapi.client.errors import ApiError, NotAnImageService, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.api import ImagesApi


@dataclass(frozen=True, slots=True)
class Place:
    """One place; the service may not tell a URL, and does not know each store's name."""

    store: str | None
    url: str | None = None


async def places(api: ImagesApi, image_id: str) -> Sequence[Place]:
    """Where the image lies, in the order in which it is read; without URLs for callers who are not to know them."""
    path = f"/images/{quote(image_id, safe='')}"
    record = await api.ask("GET", path)
    if not isinstance(record, dict):
        raise NotAnImageService("the answer is no image record: check --endpoint")
    if (told := _read(record.get("locations"))) or (told := await _told_apart(api, path)):
        return told
    stores = record.get("stores")
    names = stores.split(",") if isinstance(stores, str) else []
    return [Place(name) for name in names if name]


async def _told_apart(api: ImagesApi, path: str) -> Sequence[Place]:
    """What services and administrators are told; others, and older services, refuse or have no such route."""
    try:
        return _read(await api.ask("GET", f"{path}/locations"))
    except NotFound:
        return ()
    except ApiError as refused:
        if refused.status in {403, 405, 501}:
            return ()
        raise


def _read(document: object) -> Sequence[Place]:
    found: list[Place] = []
    for each in document if isinstance(document, list) else ():
        metadata = each.get("metadata") if isinstance(each, dict) else None
        store = metadata.get("store") if isinstance(metadata, dict) else None
        url = each.get("url") if isinstance(each, dict) else None
        found.append(Place(store if isinstance(store, str) else None, url if isinstance(url, str) else None))
    return found
