"""Pins in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from catalog.model.pin import Pin, PinState, UploadKind
from catalog.sql.tables import pin_bases, pins
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row


class SqlPins:
    """The port `Pins` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, pin: Pin, *, bases: Sequence[str] = ()) -> None:
        """Keep a pin and its hold on the manifests `bases`."""
        self._connection.execute(
            insert(pins),
            {
                "id": pin.id,
                "owner": pin.owner,
                "kind": pin.kind.value,
                "image_id": pin.image_id,
                "process": pin.process,
                "upload_id": pin.upload_id,
                "expires_at": None if pin.expires_at is None else to_us(pin.expires_at),
                "state": pin.state.value,
                "reserved": pin.reserved,
            },
        )
        if bases:
            self._connection.execute(
                insert(pin_bases), [{"pin_id": pin.id, "manifest_id": base} for base in dict.fromkeys(bases)]
            )

    def of_image(self, image_id: str) -> Sequence[Pin]:
        """The pins of uploads into this image."""
        return [pin_of(row) for row in self._connection.execute(select(pins).where(pins.c.image_id == image_id))]

    def bases(self, pin_id: str) -> Sequence[str]:
        """The manifests that the pin holds."""
        held = select(pin_bases.c.manifest_id).where(pin_bases.c.pin_id == pin_id)
        return self._connection.execute(held).scalars().all()

    def reserve(self, pin_id: str, more: int) -> None:
        """Add to what is reserved."""
        added = update(pins).where(pins.c.id == pin_id).values(reserved=pins.c.reserved + more)
        self._connection.execute(added)

    def give_to_job(self, pin_id: str, task_id: str) -> bool:
        """Its kind, the task as its upload, and no end."""
        theirs = {"kind": UploadKind.JOB.value, "upload_id": task_id, "expires_at": None}
        return self._connection.execute(update(pins).where(pins.c.id == pin_id).values(theirs)).rowcount == 1

    def remove(self, pin_id: str) -> bool:
        """Delete the pin's row, and with it those of its bases; False when it was gone already."""
        return self._connection.execute(delete(pins).where(pins.c.id == pin_id)).rowcount == 1


def pin_of(row: Row[*tuple[Any, ...]]) -> Pin:
    """The pin of a row of `pins`."""
    return Pin(
        id=row.id,
        owner=row.owner,
        kind=UploadKind(row.kind),
        image_id=row.image_id,
        process=row.process,
        upload_id=row.upload_id,
        expires_at=None if row.expires_at is None else from_us(row.expires_at),
        state=PinState(row.state),
        reserved=row.reserved,
    )
