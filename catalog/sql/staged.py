"""Staged bytes in SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from catalog.model.staged import Staged
from catalog.sql.location_tables import staged
from catalog.sql.tables import pins
from catalog.sql.times import to_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection


class SqlStagedBytes:
    """The port `StagedBytes` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, bytes_: Staged) -> None:
        """Keep them; the row goes with its pin's."""
        self._connection.execute(insert(staged), asdict(bytes_))

    def of_image(self, image_id: str) -> Staged | None:
        """What is staged for this image, or None."""
        found = self._connection.execute(select(staged).where(staged.c.image_id == image_id))
        row = found.mappings().first()
        return None if row is None else Staged(**row)

    def expired(self, now: datetime) -> Sequence[Staged]:
        """Those whose pin's end has come; one that an import has has no end."""
        ended = select(staged).join(pins, pins.c.id == staged.c.id).where(pins.c.expires_at <= to_us(now))
        return [Staged(**row) for row in self._connection.execute(ended).mappings()]
