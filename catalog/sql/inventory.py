"""The whole catalog at once, for the verbs that look after the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, func, literal, select

from catalog.inventory import HeldCopies, HeldImage
from catalog.model.image import Status
from catalog.model.location import ACTIVE, OUR_STORE
from catalog.model.manifest import ManifestState
from catalog.sql.manifests import manifest_of
from catalog.sql.pins import pin_of
from catalog.sql.tables import deltas, image_locations, images, kept_images, kept_locations, manifests, pins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from catalog.model.manifest import Manifest
    from catalog.model.pin import Pin

AT_ONCE: Final = 500
"""Names in one statement: SQLite takes no more than so many thousand values."""


class SqlInventory:
    """The port `Inventory` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def images(self) -> Sequence[HeldImage]:
        """All images, with their locations in our store, then the kept ones."""
        ours = and_(image_locations.c.image_id == images.c.id, image_locations.c.store == OUR_STORE)
        columns = (images.c.id, images.c.name, images.c.status, images.c.size)
        places = (image_locations.c.url, image_locations.c.manifest)
        rows = select(*columns, *places).select_from(images.outerjoin(image_locations, ours)).order_by(images.c.id)
        return [HeldImage(*row) for row in (*self._connection.execute(rows), *self._kept())]

    def _kept(self) -> Iterable[Row[*tuple[Any, ...]]]:
        deleted = literal(Status.DELETED.value)
        columns = (kept_images.c.id, kept_images.c.name, deleted, kept_images.c.size)
        places = (kept_locations.c.url, kept_locations.c.manifest)
        rows = select(*columns, *places).select_from(kept_images.outerjoin(kept_locations))
        return self._connection.execute(rows.order_by(kept_images.c.id))

    def copies(self) -> Sequence[HeldCopies]:
        """By store and status."""
        key = (image_locations.c.store, image_locations.c.status)
        size = func.coalesce(func.sum(images.c.size), 0)
        rows = select(*key, func.count(), size).join(images, images.c.id == image_locations.c.image_id)
        theirs = rows.where(image_locations.c.manifest.is_(None)).group_by(*key).order_by(*key)
        return [HeldCopies(*row) for row in self._connection.execute(theirs)]

    def without_place(self) -> Sequence[str]:
        """By id."""
        place = image_locations.c.image_id == images.c.id, image_locations.c.status == ACTIVE
        with_bytes = images.c.status.in_([Status.ACTIVE.value, Status.DEACTIVATED.value])
        found = select(images.c.id).where(with_bytes, ~exists().where(*place)).order_by(images.c.id)
        return self._connection.execute(found).scalars().all()

    def manifests(self) -> Sequence[Manifest]:
        """All manifests, by name."""
        rows = self._connection.execute(select(manifests).order_by(manifests.c.id))
        return [manifest_of(row) for row in rows]

    def pins(self) -> Sequence[Pin]:
        """All pins."""
        return [pin_of(row) for row in self._connection.execute(select(pins).order_by(pins.c.id))]

    def acknowledged(self) -> Mapping[str, int]:
        """Of each delta upload, by name."""
        return {row.id: row.records for row in self._connection.execute(select(deltas.c.id, deltas.c.records))}

    def settle(self) -> None:
        """Write a page to the log, where whatever lies behind its end is then no commit any more.

        SQLite takes back a commit that it could not sync, but leaves it in the log. Who opens the database when all who
        had it open have died reads the log anew, and takes it for done.
        """
        self._connection.exec_driver_sql("PRAGMA user_version = 0")

    def remove_retired(self, names: Sequence[str]) -> int:
        """Delete their rows. A base goes after those over it: the newest of a chain come first."""
        removed = 0
        retired = manifests.c.state == ManifestState.RETIRED.value
        deepest = select(manifests.c.id).where(retired).order_by(manifests.c.depth.desc())
        wanted = set(names)
        ordered = [name for name in self._connection.execute(deepest).scalars() if name in wanted]
        for first in range(0, len(ordered), AT_ONCE):
            some = manifests.c.id.in_(ordered[first : first + AT_ONCE])
            removed += self._connection.execute(delete(manifests).where(retired, some)).rowcount
        return removed
