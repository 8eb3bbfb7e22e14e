"""Delta uploads in SQL: each is a pin with a size, a block size and perhaps a base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, insert, select, update

from blockstore.journal import HEADER_SIZE, RECORD_SIZE
from catalog.model.delta import Delta, UnderWay
from catalog.sql.tables import deltas, pins
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

_WITH_PINS = select(deltas, pins.c.image_id, pins.c.expires_at).join(pins, pins.c.id == deltas.c.id)


class SqlDeltas:
    """The port `Deltas` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, delta: Delta) -> None:
        """Keep a delta upload."""
        self._connection.execute(
            insert(deltas),
            {
                "id": delta.id,
                "size": delta.size,
                "block_size": delta.block_size,
                "base_image": delta.base_image,
                "requests": delta.requests,
                "records": delta.records,
            },
        )

    def get(self, upload_id: str) -> Delta | None:
        """The delta upload, or None."""
        found = self._found(_WITH_PINS.where(deltas.c.id == upload_id))
        return found[0] if found else None

    def renew(self, upload_id: str, *, expires_at: datetime, acknowledged: bool = False, records: int = 0) -> bool:
        """Move the pin's end by compare-and-set, and count the request and the records."""
        moved = update(pins).where(pins.c.id == upload_id).values(expires_at=to_us(expires_at))
        if self._connection.execute(moved).rowcount == 0:
            return False
        if acknowledged or records:
            more = case((deltas.c.records < records, records), else_=deltas.c.records)
            counted = {"requests": deltas.c.requests + acknowledged, "records": more}
            self._connection.execute(update(deltas).where(deltas.c.id == upload_id).values(counted))
        return True

    def under_way(self, owner: str | None) -> UnderWay:
        """Counted over the project's pins; a delta's journal is as long as its records."""
        counted = select(func.count(pins.c.id), func.count(deltas.c.id), func.coalesce(func.sum(deltas.c.records), 0))
        theirs = pins.c.owner.is_not_distinct_from(owner)
        rows = counted.select_from(pins.outerjoin(deltas, deltas.c.id == pins.c.id)).where(theirs)
        uploads, sessions, records = self._connection.execute(rows).one()
        return UnderWay(uploads, sessions * HEADER_SIZE + int(records) * RECORD_SIZE)

    def expired(self, now: datetime) -> Sequence[Delta]:
        """Those whose pin's end has come."""
        return self._found(_WITH_PINS.where(pins.c.expires_at <= to_us(now)))

    def _found(self, statement: Select[tuple[Any, ...]]) -> list[Delta]:
        return [delta_of(row) for row in self._connection.execute(statement)]


def delta_of(row: Row[*tuple[Any, ...]]) -> Delta:
    """The delta upload of a row of `deltas` with its pin's image and end."""
    return Delta(
        id=row.id,
        image_id=row.image_id,
        size=row.size,
        block_size=row.block_size,
        base_image=row.base_image,
        expires_at=from_us(row.expires_at),
        requests=row.requests,
        records=row.records,
    )
