"""Metadata definitions in SQL: a table of namespaces, and one of all that they have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, asc, delete, desc, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from catalog.metadefs.kinds import KINDS
from catalog.model.errors import Conflict
from catalog.model.metadef import Kind, Namespace, Part, ResourceType, Shown, Usage
from catalog.sql.metadef_tables import namespaces, parts, resource_types
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect

    from catalog.model.metadef import NamespaceQuery

AT_ONCE: Final = 500
"""Names in one statement: SQLite takes no more than so many thousand values."""


class SqlMetadefs:
    """The port `Metadefs` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, namespace: Namespace) -> None:
        """One row."""
        try:
            self._connection.execute(insert(namespaces), _row_of(namespace))
        except IntegrityError:
            raise _taken(namespace.name) from None

    def get(self, name: str) -> Namespace | None:
        """By its name's index."""
        row = self._connection.execute(select(namespaces).where(namespaces.c.namespace == name)).first()
        return None if row is None else _namespace_of(row)

    def save(self, name: str, namespace: Namespace) -> None:
        """What it has refers to its number, and stays."""
        change = update(namespaces).where(namespaces.c.namespace == name)
        try:
            self._connection.execute(change.values(_row_of(namespace)))
        except IntegrityError:
            raise _taken(namespace.name) from None

    def remove(self, name: str) -> None:
        """What it has goes with it."""
        self._connection.execute(delete(namespaces).where(namespaces.c.namespace == name))

    def page(
        self, project: str | None, query: NamespaceQuery, after: Namespace | None
    ) -> tuple[Sequence[Namespace], bool]:
        """One statement, and one for the marker."""
        if query.limit == 0:
            return [], False
        found = select(namespaces)
        if project is not None:
            shown = namespaces.c.visibility == Shown.PUBLIC.value
            found = found.where(or_(shown, namespaces.c.owner == project))
        if query.visibility is not None:
            found = found.where(namespaces.c.visibility == query.visibility)
        if query.resource_types is not None:
            association = parts.c.kind == Kind.ASSOCIATIONS.value, parts.c.name.in_(query.resource_types)
            found = found.where(namespaces.c.id.in_(select(parts.c.namespace_id).where(*association)))
        key = _sortable(query.sort_key)
        order = (key, namespaces.c.created_at, namespaces.c.id)
        if after is not None:
            here = select(*order).where(namespaces.c.namespace == after.name)
            last = tuple_(*(literal(value) for value in self._connection.execute(here).one()))
            found = found.where(tuple_(*order) < last if query.descending else tuple_(*order) > last)
        turn = desc if query.descending else asc
        found = found.order_by(*(turn(each) for each in order))
        limit = query.limit
        rows = self._connection.execute(found if limit is None else found.limit(limit + 1)).all()
        return [_namespace_of(row) for row in rows[:limit]], limit is not None and len(rows) > limit

    def add_part(self, namespace: str, part: Part) -> None:
        """One row; two for a new type of resource."""
        times = {"created_at": to_us(part.created_at), "updated_at": to_us(part.updated_at)}
        if part.kind is Kind.ASSOCIATIONS:
            known = select(resource_types.c.name).where(resource_types.c.name == part.name)
            if self._connection.execute(known).first() is None:
                self._connection.execute(insert(resource_types), {"name": part.name} | times)
        row = {"namespace_id": self._number(namespace), "kind": part.kind.value} | _said_of(part) | times
        try:
            self._connection.execute(insert(parts), row)
        except IntegrityError:
            raise _has(namespace, part) from None

    def part(self, namespace: str, kind: Kind, name: str) -> Part | None:
        """By its index."""
        row = self._connection.execute(select(parts).where(*_are(namespace, kind), parts.c.name == name)).first()
        return None if row is None else _part_of(row)

    def parts(self, namespace: str) -> Sequence[Part]:
        """One statement for all kinds."""
        found = select(parts).where(parts.c.namespace_id == _number_of(namespace)).order_by(parts.c.id)
        return [_part_of(row) for row in self._connection.execute(found)]

    def parts_of_kind(self, namespaces_: Collection[str], kind: Kind) -> Mapping[str, Sequence[Part]]:
        """A statement for every 500 namespaces."""
        names = list(namespaces_)
        found: dict[str, list[Part]] = {name: [] for name in names}
        joined = parts.join(namespaces, parts.c.namespace_id == namespaces.c.id)
        for first in range(0, len(names), AT_ONCE):
            some = namespaces.c.namespace.in_(names[first : first + AT_ONCE])
            asked = select(namespaces.c.namespace, *parts.c).select_from(joined).where(some, parts.c.kind == kind.value)
            for row in self._connection.execute(asked.order_by(parts.c.id)):
                found[row.namespace].append(_part_of(row))
        return found

    def save_part(self, namespace: str, name: str, part: Part) -> None:
        """Write back what can change."""
        change = update(parts).where(*_are(namespace, part.kind), parts.c.name == name)
        try:
            self._connection.execute(change.values(_said_of(part) | {"updated_at": to_us(part.updated_at)}))
        except IntegrityError:
            raise _has(namespace, part) from None

    def remove_part(self, namespace: str, kind: Kind, name: str) -> bool:
        """One row."""
        gone = self._connection.execute(delete(parts).where(*_are(namespace, kind), parts.c.name == name))
        return gone.rowcount > 0

    def remove_parts(self, namespace: str, kind: Kind) -> None:
        """One statement."""
        self._connection.execute(delete(parts).where(*_are(namespace, kind)))

    def usage(self, namespace: str) -> Usage:
        """Summed up by an index."""
        size = func.sum(func.length(parts.c.content) + func.length(parts.c.name))
        asked = select(parts.c.kind, func.count(), size).where(parts.c.namespace_id == _number_of(namespace))
        rows = self._connection.execute(asked.group_by(parts.c.kind)).all()
        return Usage({Kind(kind): number for kind, number, _ in rows}, sum(int(each) for _, _, each in rows))

    def names(self) -> Sequence[str]:
        """Read off an index."""
        return self._connection.execute(select(namespaces.c.namespace).order_by(namespaces.c.namespace)).scalars().all()

    def resource_types(self) -> Sequence[ResourceType]:
        """The table."""
        rows = self._connection.execute(select(resource_types).order_by(resource_types.c.id))
        return [ResourceType(row.name, from_us(row.created_at), from_us(row.updated_at)) for row in rows]

    def forget_resource_types(self) -> None:
        """One statement."""
        used = select(parts.c.name).where(parts.c.kind == Kind.ASSOCIATIONS.value)
        self._connection.execute(delete(resource_types).where(resource_types.c.name.not_in(used)))

    def _number(self, namespace: str) -> int:
        return self._connection.execute(select(_number_of(namespace))).scalar_one()


def _number_of(namespace: str) -> ScalarSelect[int]:
    return select(namespaces.c.id).where(namespaces.c.namespace == namespace).scalar_subquery()


def _are(namespace: str, kind: Kind) -> tuple[ColumnElement[bool], ...]:
    return parts.c.namespace_id == _number_of(namespace), parts.c.kind == kind.value


def _sortable(key: str) -> ColumnElement[Any]:
    """What has no value comes where an empty text would, so that a page can begin behind it."""
    column = namespaces.c[key]
    return func.coalesce(column, "") if isinstance(column.type, String) else column


def _row_of(namespace: Namespace) -> dict[str, object]:
    return {
        "namespace": namespace.name,
        "display_name": namespace.display_name,
        "description": namespace.description,
        "visibility": namespace.visibility.value,
        "protected": namespace.protected,
        "owner": namespace.owner,
        "created_at": to_us(namespace.created_at),
        "updated_at": to_us(namespace.updated_at),
    }


def _namespace_of(row: Row[Any]) -> Namespace:
    return Namespace(
        name=row.namespace,
        owner=row.owner,
        created_at=from_us(row.created_at),
        updated_at=from_us(row.updated_at),
        display_name=row.display_name,
        description=row.description,
        visibility=Shown(row.visibility),
        protected=row.protected,
    )


def _said_of(part: Part) -> dict[str, object]:
    return {"name": part.name, "content": json.dumps(part.content, ensure_ascii=False)}


def _part_of(row: Row[Any]) -> Part:
    return Part(
        kind=Kind(row.kind),
        name=row.name,
        content=json.loads(row.content),
        created_at=from_us(row.created_at),
        updated_at=from_us(row.updated_at),
    )


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a namespace {name!r} already, maybe one that you may not see; choose another name.")


def _has(namespace: str, part: Part) -> Conflict:
    return Conflict(f"Namespace {namespace!r} has the {KINDS[part.kind].noun} {part.name!r} already.")
