"""Owners in SQL: rows of one project made another's, in every table that names one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, and_, cast, delete, exists, false, func, or_, select, true, update

from catalog.model.image import NOVAS_PARENT, Visibility
from catalog.model.ownership import Handed
from catalog.sql.job_tables import jobs, tasks
from catalog.sql.metadef_tables import namespaces
from catalog.sql.tables import deleted_images, image_members, image_properties, images, kept_images, pins

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Table

    from catalog.model.ownership import Handover

_IMAGES: Final = images.name
_MEMBERS: Final = image_members.name
_PROPERTIES: Final = image_properties.name
_SHOWN: Final = (Visibility.PUBLIC.value, Visibility.COMMUNITY.value)


class SqlOwnership:
    """The port `Ownership` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def owners(self, image_ids: Collection[str]) -> Mapping[str, str | None]:
        """Of images, and of kept ones."""
        found: dict[str, str | None] = {}
        for table in (images, kept_images):
            asked = select(table.c.id, table.c.owner).where(table.c.id.in_(image_ids))
            found |= {row.id: row.owner for row in self._connection.execute(asked)}
        return found

    def count(self, handover: Handover) -> Handed:
        """By a statement a kind."""
        counted = (
            self._connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
            for table, _, condition in self._kinds(handover)
        )
        return Handed(*counted)

    def hand_over(self, handover: Handover, most: int) -> Handed:
        """Each kind for itself; of images and kept ones, what they say of members too."""
        kinds = self._kinds(handover)
        given: dict[str, int] = {}
        # An image takes its upload along: so that it is counted, the upload is given before.
        for table, key, condition in sorted(kinds, key=lambda kind: kind[0] is not pins):
            found = select(key).where(condition).order_by(key).limit(most)
            keys = self._connection.execute(found).scalars().all()
            given[table.name] = len(keys)
            if not keys:
                continue
            if table is image_members:
                self._replace_member(handover, keys)
                continue
            if table is kept_images:
                self._rewrite_kept(handover, keys)
            elif table is images:
                own = image_members.c.image_id.in_(keys), image_members.c.member == handover.taker
                self._connection.execute(delete(image_members).where(*own))
                if handover.images:
                    self._forget_changes(handover, keys)
            if "owner" in table.c:
                theirs = key.in_(keys), table.c.owner == handover.giver
                self._connection.execute(update(table).where(*theirs).values(owner=handover.taker))
            if table is tasks:
                # A job is its task's, whose id it has.
                its = jobs.c.id.in_(keys), jobs.c.owner == handover.giver
                self._connection.execute(update(jobs).where(*its).values(owner=handover.taker))
        return Handed(*(given[table.name] for table, _, _ in kinds))

    def _kinds(self, handover: Handover) -> Sequence[tuple[Table, Column[Any], ColumnElement[bool]]]:
        """Each kind in the order of Handed: the table, the key of its rows, and which of them are to be given."""

        def owned(table: Table, image: Column[Any]) -> ColumnElement[bool]:
            chosen = image.in_(handover.images) if handover.images else true()
            return and_(table.c.owner == handover.giver, chosen)

        # A kept image's members are text; a name stands in it as JSON writes it, and nothing else looks like this.
        named = func.instr(cast(kept_images.c.rows, Text), f'"member": {json.dumps(handover.giver)}') > 0
        kept = owned(kept_images, kept_images.c.id)
        member = image_members.c.member == handover.giver
        definitions = namespaces.c.owner == handover.giver
        return (
            (images, images.c.id, owned(images, images.c.id)),
            (kept_images, kept_images.c.id, kept if handover.images else kept | named),
            (deleted_images, deleted_images.c.id, owned(deleted_images, deleted_images.c.id)),
            (pins, pins.c.id, owned(pins, pins.c.image_id)),
            (tasks, tasks.c.id, owned(tasks, tasks.c.image_id)),
            # Of single images alone, who else sees others is nobody's question.
            (image_members, image_members.c.image_id, false() if handover.images else member),
            (namespaces, namespaces.c.id, false() if handover.images else definitions),
        )

    def _forget_changes(self, handover: Handover, image_ids: Sequence[str]) -> None:
        """How much of an image is not its parent's is not for a taker to know who does not see the parent.

        Who takes all takes the giver's place, and sees what it saw.
        """
        seen = images.alias("parents")
        shared = select(image_members.c.image_id).where(image_members.c.member == handover.taker)
        sees = or_(
            seen.c.owner == handover.taker,
            seen.c.id.in_(handover.images),
            seen.c.visibility.in_(_SHOWN),
            and_(seen.c.visibility == Visibility.SHARED.value, seen.c.id.in_(shared)),
        )
        named = select(func.nullif(func.lower(image_properties.c.value), "")).where(
            image_properties.c.image_id == images.c.id, image_properties.c.name == NOVAS_PARENT
        )
        parent = func.coalesce(images.c.parent_image_ref, named.scalar_subquery())
        known = exists().where(seen.c.id == parent, sees)
        unknown = images.c.id.in_(image_ids), parent.is_not(None), ~known
        self._connection.execute(update(images).where(*unknown).values(changed_size=None))

    def _replace_member(self, handover: Handover, image_ids: Sequence[str]) -> None:
        here = image_members.c.image_id.in_(image_ids), image_members.c.member == handover.giver
        twice = select(image_members.c.image_id).where(image_members.c.member == handover.taker)
        own = select(images.c.id).where(images.c.id.in_(image_ids), images.c.owner == handover.taker)
        for gone in (twice, own):
            self._connection.execute(delete(image_members).where(*here, image_members.c.image_id.in_(gone)))
        self._connection.execute(update(image_members).where(*here).values(member=handover.taker))

    def _rewrite_kept(self, handover: Handover, image_ids: Sequence[str]) -> None:
        asked = select(kept_images.c.id, kept_images.c.rows).where(kept_images.c.id.in_(image_ids))
        for kept in self._connection.execute(asked).all():
            rows = _rewritten(handover, kept.rows)
            self._connection.execute(update(kept_images).where(kept_images.c.id == kept.id).values(rows=rows))


def _rewritten(handover: Handover, rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """A kept image's rows, as they would be had the image been there."""
    [image] = rows[_IMAGES]
    owner = handover.taker if image["owner"] == handover.giver else image["owner"]
    members = {row["member"]: row for row in rows.get(_MEMBERS, ())}
    if not handover.images and handover.giver in members:
        moved = members.pop(handover.giver) | {"member": handover.taker}
        members.setdefault(handover.taker, moved)
    if owner == handover.taker:
        members.pop(handover.taker, None)
    told = {"owner": owner}
    if handover.images and _names_parent(image, rows.get(_PROPERTIES, ())):
        told["changed_size"] = None
    return {**rows, _IMAGES: [image | told], _MEMBERS: list(members.values())}


def _names_parent(image: Mapping[str, Any], properties: Iterable[Mapping[str, Any]]) -> bool:
    return image["parent_image_ref"] is not None or any(row["name"] == NOVAS_PARENT for row in properties)
