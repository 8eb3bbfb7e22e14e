"""Quotas in SQL. `project_usage` is only read here: the triggers that keep it are made in `migrations/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, delete, func, insert, select

from catalog.model.image import Status
from catalog.model.quota import NAMES, NO_QUOTA, Quota, Usage
from catalog.quota_ports import Said
from catalog.sql.tables import images, pins, project_usage, quotas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Select

_OTHERS: Final = ""
"""The name under which the catalog keeps what it says of all projects that it does not name."""

_NOBODY: Final = Usage()
_COMING: Final = (Status.UPLOADING.value, Status.IMPORTING.value)


class SqlQuotas:
    """The port `Quotas` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def said(self, project: str) -> Said:
        """Two rows by key, at most."""
        return self._said(select(quotas).where(quotas.c.project.in_((project, _OTHERS))))

    def all_said(self) -> Said:
        """Every row."""
        return self._said(select(quotas))

    def say(self, project: str | None, quota: Quota) -> None:
        """Replace the row, or delete it where nothing is said."""
        key = _OTHERS if project is None else project
        self._connection.execute(delete(quotas).where(quotas.c.project == key))
        if quota != NO_QUOTA:
            self._connection.execute(insert(quotas), {"project": key} | {name: getattr(quota, name) for name in NAMES})

    def usage(self, project: str) -> Usage:
        """A row by key, and the project's pins by their index."""
        counts = select(project_usage.c.images, project_usage.c.bytes).where(project_usage.c.project == project)
        has = self._connection.execute(counts).first()
        uploads, staged = self._connection.execute(_staged().where(pins.c.owner == project)).one()
        return Usage(images=has[0] if has else 0, bytes=has[1] if has else 0, uploads=uploads, staged_bytes=int(staged))

    def all_usage(self) -> Mapping[str, Usage]:
        """The counters of every project, and all pins."""
        return self._usages(select(project_usage.c.project, project_usage.c.images, project_usage.c.bytes))

    def counted(self) -> Mapping[str, Usage]:
        """Over all images and all pins."""
        return self._usages(_count())

    def recount(self) -> None:
        """All counters anew."""
        self._connection.execute(delete(project_usage))
        self._connection.execute(insert(project_usage).from_select(["project", "images", "bytes"], _count()))

    def _said(self, rows: Select[Any]) -> Said:
        found = {
            row["project"]: Quota(**{name: row[name] for name in NAMES})
            for row in self._connection.execute(rows).mappings()
        }
        return Said(found.pop(_OTHERS, NO_QUOTA), found)

    def _usages(self, counts: Select[Any]) -> Mapping[str, Usage]:
        has = {project: (number, size) for project, number, size in self._connection.execute(counts)}
        by_owner = _staged().add_columns(pins.c.owner).where(pins.c.owner.is_not(None)).group_by(pins.c.owner)
        under_way = {owner: (uploads, int(staged)) for uploads, staged, owner in self._connection.execute(by_owner)}
        found = {}
        for project in sorted(has.keys() | under_way.keys()):
            number, size = has.get(project, (0, 0))
            uploads, staged = under_way.get(project, (0, 0))
            found[project] = Usage(images=number, bytes=size, uploads=uploads, staged_bytes=staged)
        return {project: usage for project, usage in found.items() if usage != _NOBODY}


def _staged() -> Select[Any]:
    return select(func.count(pins.c.id), func.coalesce(func.sum(pins.c.reserved), 0))


def _count() -> Select[Any]:
    # What is staged counts by its pin.
    come = case((images.c.status.in_(_COMING), 0), else_=images.c.size)
    sums = (func.count(images.c.id), func.coalesce(func.sum(come), 0))
    return select(images.c.owner, *sums).where(images.c.owner.is_not(None)).group_by(images.c.owner)
