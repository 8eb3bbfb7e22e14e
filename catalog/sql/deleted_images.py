"""Deleted images in SQL: all rows of an image moved into one, and back.

Which tables have rows of an image is asked of the schema: a table that refers to `images` is kept by being there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, desc, insert, or_, select, union

from catalog.model.deleted import Dropped, FormerImage, KeptImage, KeptPage
from catalog.model.image import Status
from catalog.model.location import Location
from catalog.sql.tables import (
    deleted_images,
    image_locations,
    images,
    kept_images,
    kept_locations,
    metadata,
    pin_bases,
)
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Table

    from catalog.model.deleted import KeptQuery

PARTS: Final = tuple(
    table for table in metadata.sorted_tables if any(key.column is images.c.id for key in table.foreign_keys)
)
"""The tables whose rows are an image's, beside `images` itself."""

_TOLD: Final = ("id", "name", "owner", "status", "size", "created_at")


class SqlDeletedImages:
    """The port `DeletedImages` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, image_id: str, *, at: datetime) -> None:
        """Copy the image's rows as they stand."""
        rows = {table.name: self._rows(table, image_id) for table in (images, *PARTS)}
        [image] = rows[images.name]
        told = {name: image[name] for name in _TOLD}
        self._connection.execute(insert(kept_images), told | {"deleted_at": to_us(at), "rows": rows})
        held = [
            {"image_id": image_id} | {name: row[name] for name in ("position", "manifest", "url")}
            for row in rows[image_locations.name]
            if row["manifest"] is not None
        ]
        if held:
            self._connection.execute(insert(kept_locations), held)

    def get(self, image_id: str) -> KeptImage | None:
        """The kept image, or None."""
        row = self._connection.execute(select(kept_images).where(kept_images.c.id == image_id)).first()
        return None if row is None else _kept_of(row)

    def former(self, image_id: str) -> FormerImage | None:
        """What is remembered of an id that was used."""
        row = self._connection.execute(select(deleted_images).where(deleted_images.c.id == image_id)).first()
        return None if row is None else FormerImage(row.id, row.owner)

    def restore(self, image_id: str) -> bool:
        """Put the rows back where they were; False when the image is not kept."""
        found = select(kept_images.c.rows).where(kept_images.c.id == image_id)
        rows: Mapping[str, list[dict[str, Any]]] | None = self._connection.execute(found).scalar()
        if rows is None:
            return False
        for table in (images, *PARTS):
            if values := [_known(table, row) for row in rows.get(table.name, ())]:
                self._connection.execute(insert(table), values)
        self._connection.execute(delete(deleted_images).where(deleted_images.c.id == image_id))
        return self._connection.execute(delete(kept_images).where(kept_images.c.id == image_id)).rowcount == 1

    def drop(self, image_id: str) -> Dropped | None:
        """Delete the row; what it named, None when it was gone already."""
        found = select(kept_images.c.rows).where(kept_images.c.id == image_id)
        rows: Mapping[str, list[dict[str, Any]]] | None = self._connection.execute(found).scalar()
        if rows is None:
            return None
        copies = [
            Location(row["url"], row["store"], row["metadata"], status=row["status"])
            for row in rows.get(image_locations.name, ())
            if row["manifest"] is None
        ]
        named = select(kept_locations.c.manifest).where(kept_locations.c.image_id == image_id)
        manifests = self._connection.execute(named.order_by(kept_locations.c.position)).scalars().all()
        gone = self._connection.execute(delete(kept_images).where(kept_images.c.id == image_id))
        return Dropped(manifests, copies) if gone.rowcount == 1 else None

    def due(self, deleted_by: datetime, most: int) -> Sequence[str]:
        """The first ones that were deleted at this time or before."""
        old = select(kept_images.c.id).where(kept_images.c.deleted_at <= to_us(deleted_by))
        ordered = old.order_by(kept_images.c.deleted_at, kept_images.c.id)
        return self._connection.execute(ordered.limit(most)).scalars().all()

    def named(self, deleted_by: datetime) -> frozenset[str]:
        """By images, by pins, and by images that were deleted later."""
        later = select(kept_images.c.id).where(kept_images.c.deleted_at > to_us(deleted_by))
        kept = select(kept_locations.c.manifest).where(kept_locations.c.image_id.in_(later))
        by_images = select(image_locations.c.manifest).where(image_locations.c.manifest.is_not(None))
        names = union(by_images, select(pin_bases.c.manifest_id), kept)
        return frozenset(self._connection.execute(names).scalars())

    def page(self, owner: str | None, query: KeptQuery, after: KeptImage | None) -> KeptPage:
        """One page, the last deleted first, as one statement that begins behind `after` by its values."""
        if query.limit == 0:
            return KeptPage(images=(), more=False)
        # Not the rows: they are of any size.
        found = select(*(kept_images.c[name] for name in (*_TOLD, "deleted_at")))
        if owner is not None:
            found = found.where(kept_images.c.owner == owner)
        if query.name is not None:
            found = found.where(kept_images.c.name == query.name)
        if after is not None:
            key, last = kept_images.c.deleted_at, to_us(after.deleted_at)
            found = found.where(or_(key < last, and_(key == last, kept_images.c.id < after.id)))
        ordered = found.order_by(desc(kept_images.c.deleted_at), desc(kept_images.c.id)).limit(query.limit + 1)
        rows = self._connection.execute(ordered).all()
        return KeptPage(tuple(_kept_of(row) for row in rows[: query.limit]), more=len(rows) > query.limit)

    def _rows(self, table: Table, image_id: str) -> list[dict[str, Any]]:
        whose = table.c.id if table is images else table.c.image_id
        return [dict(row) for row in self._connection.execute(select(table).where(whose == image_id)).mappings()]


def _known(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that was kept before the schema changed has no new columns, and those that went are nobody's any more."""
    return {name: value for name, value in row.items() if name in table.c}


def _kept_of(row: Row[*tuple[Any, ...]]) -> KeptImage:
    return KeptImage(
        id=row.id,
        name=row.name,
        owner=row.owner,
        status=Status(row.status),
        size=row.size,
        created_at=from_us(row.created_at),
        deleted_at=from_us(row.deleted_at),
    )
