"""Members in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from catalog.model.errors import Conflict
from catalog.model.member import Member, MemberStatus
from catalog.sql.tables import image_members
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from catalog.model.image import Image


class SqlMembers:
    """The port `Members` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, image: Image, member: Member) -> None:
        """Keep a new member; Conflict when there is one."""
        row = {
            "image_id": image.id,
            "member": member.id,
            "status": member.status.value,
            "created_at": to_us(member.created_at),
            "updated_at": to_us(member.updated_at),
            "image_created_at": to_us(image.created_at),
        }
        try:
            self._connection.execute(insert(image_members), row)
        except IntegrityError:
            raise Conflict(f"Project {member.id} is a member of image {image.id} already.") from None

    def get(self, image_id: str, project: str) -> Member | None:
        """The member, or None."""
        row = self._connection.execute(select(image_members).where(*_is(image_id, project))).first()
        return None if row is None else _member_of(row)

    def of_image(self, image_id: str) -> Sequence[Member]:
        """In the order of their coming."""
        found = select(image_members).where(image_members.c.image_id == image_id)
        ordered = found.order_by(image_members.c.created_at, image_members.c.member)
        return [_member_of(row) for row in self._connection.execute(ordered)]

    def save(self, member: Member) -> None:
        """Write back what can change."""
        change = update(image_members).where(*_is(member.image_id, member.id))
        changed = {"status": member.status.value, "updated_at": to_us(member.updated_at)}
        self._connection.execute(change.values(changed))

    def remove(self, member: Member) -> None:
        """Delete the row."""
        self._connection.execute(delete(image_members).where(*_is(member.image_id, member.id)))


def _is(image_id: str, project: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return image_members.c.image_id == image_id, image_members.c.member == project


def _member_of(row: Row[*tuple[Any, ...]]) -> Member:
    return Member(
        image_id=row.image_id,
        id=row.member,
        status=MemberStatus(row.status),
        created_at=from_us(row.created_at),
        updated_at=from_us(row.updated_at),
    )
