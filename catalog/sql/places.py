"""Images' locations in SQL, across the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, cast, func, select

from catalog.model.location import ACTIVE, Location
from catalog.sql.tables import image_locations, images, kept_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row


class SqlPlaces:
    """The port `Places` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def in_store(self, store: str, after: str, most: int) -> Sequence[tuple[str, Location, int | None]]:
        """The locations of a page of images, in the order of their ids."""
        return self._page(image_locations.c.store == store, after, most)

    def lost(self, after: str, most: int) -> Sequence[tuple[str, Location, int | None]]:
        """The same of those that are not read."""
        return self._page(image_locations.c.status != ACTIVE, after, most)

    def is_named(self, url: str) -> bool:
        """By a location, or in what is kept of a deleted image."""
        shown = select(image_locations.c.image_id).where(image_locations.c.url == url)
        # What is kept is JSON: the URL stands in it as a string, or as part of a longer one, which does no harm.
        kept = select(kept_images.c.id).where(func.instr(cast(kept_images.c.rows, Text), url) > 0)
        return any(self._connection.execute(found.limit(1)).first() is not None for found in (shown, kept))

    def _page(self, which: ColumnElement[bool], after: str, most: int) -> Sequence[tuple[str, Location, int | None]]:
        """By pages of images: an image's locations are few and come together."""
        theirs = which, image_locations.c.image_id > after
        ids = select(image_locations.c.image_id).where(*theirs).distinct().order_by(image_locations.c.image_id)
        found = (
            select(image_locations, images.c.size)
            .join(images, images.c.id == image_locations.c.image_id)
            .where(which, image_locations.c.image_id.in_(ids.limit(most)))
            .order_by(image_locations.c.image_id, image_locations.c.position)
        )
        return [(row.image_id, _location_of(row), row.size) for row in self._connection.execute(found)]


def _location_of(row: Row[*tuple[Any, ...]]) -> Location:
    return Location(row.url, row.store, row.metadata, row.manifest, row.status)
