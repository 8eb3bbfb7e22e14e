"""All repositories on one connection: what a step is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.sql.deleted_images import SqlDeletedImages
from catalog.sql.deltas import SqlDeltas
from catalog.sql.images import SqlImages
from catalog.sql.inventory import SqlInventory
from catalog.sql.jobs import SqlJobs
from catalog.sql.loose import SqlLooseCopies
from catalog.sql.manifests import SqlManifests
from catalog.sql.members import SqlMembers
from catalog.sql.metadefs import SqlMetadefs
from catalog.sql.ownership import SqlOwnership
from catalog.sql.pins import SqlPins
from catalog.sql.places import SqlPlaces
from catalog.sql.quotas import SqlQuotas
from catalog.sql.staged import SqlStagedBytes
from catalog.sql.tasks import SqlTasks

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SqlUnitOfWork:
    """The port `UnitOfWork` on one transaction; begin and end are the database's."""

    def __init__(self, connection: Connection) -> None:
        self.images = SqlImages(connection)
        self.deleted = SqlDeletedImages(connection)
        self.members = SqlMembers(connection)
        self.metadefs = SqlMetadefs(connection)
        self.manifests = SqlManifests(connection)
        self.pins = SqlPins(connection)
        self.staged = SqlStagedBytes(connection)
        self.loose = SqlLooseCopies(connection)
        self.places = SqlPlaces(connection)
        self.ownership = SqlOwnership(connection)
        self.inventory = SqlInventory(connection)
        self.deltas = SqlDeltas(connection)
        self.quotas = SqlQuotas(connection)
        self.tasks = SqlTasks(connection)
        self.jobs = SqlJobs(connection)
