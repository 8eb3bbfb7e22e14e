"""Stores at the client's end: which places for images' bytes the service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpapi.client.errors import ApiError, NotAnImageService
from httpapi.wire.stores import parse_stores

if TYPE_CHECKING:
    from collections.abc import Collection

    from httpapi.client.api import ImagesApi
    from httpapi.wire.stores import StoreRecord


async def list_stores(api: ImagesApi) -> list[StoreRecord] | None:
    """All of them, in detail if the caller may know it; None where the service does not tell stores apart."""
    document = await _ask(api, "/info/stores/detail", otherwise={403, 404})
    if document is None:
        document = await _ask(api, "/info/stores", otherwise={404})
    if document is None:
        return None
    try:
        return parse_stores(document)
    except ValueError as failure:
        raise NotAnImageService(f"the answer is no list of stores ({failure}): check --endpoint") from None


async def _ask(api: ImagesApi, path: str, *, otherwise: Collection[int]) -> object:
    """The document there; None for an answer of one of these statuses."""
    try:
        return await api.ask("GET", path)
    except ApiError as refusal:
        if refusal.status in otherwise:
            return None
        raise
