"""Manifests in SQL: add, follow a chain, retire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, insert, literal, select, update

from catalog.model.manifest import Manifest, ManifestState, StoredManifest
from catalog.sql.tables import image_locations, manifests, pin_bases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row


class SqlManifests:
    """The port `Manifests` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, manifest: Manifest) -> None:
        """Keep a manifest; its base must be known."""
        self._connection.execute(
            insert(manifests),
            {
                "id": manifest.id,
                "digest": manifest.digest,
                "base": manifest.base,
                "depth": manifest.depth,
                "size": manifest.size,
                "state": manifest.state.value,
                "listed": manifest.listed,
            },
        )

    def get(self, manifest_id: str) -> Manifest | None:
        """The manifest, or None."""
        row = self._connection.execute(select(manifests).where(manifests.c.id == manifest_id)).first()
        return None if row is None else manifest_of(row)

    def chain(self, manifest_id: str) -> Sequence[StoredManifest]:
        """The manifest and those below it, newest first, in one statement."""
        top = (
            select(manifests.c.id, manifests.c.digest, manifests.c.base, literal(0).label("below"))
            .where(manifests.c.id == manifest_id)
            .cte("chain", recursive=True)
        )
        under = select(manifests.c.id, manifests.c.digest, manifests.c.base, top.c.below + 1)
        chain = top.union_all(under.join(top, manifests.c.id == top.c.base))
        rows = self._connection.execute(select(chain.c.id, chain.c.digest).order_by(chain.c.below))
        return [StoredManifest(name=row.id, digest=row.digest) for row in rows]

    def retire_unnamed(self, manifest_id: str) -> None:
        """Retire the manifest if nothing names it, then its base on the same terms, and so on down."""
        name: str | None = manifest_id
        while name is not None and self._retire(name):
            name = self._connection.execute(select(manifests.c.base).where(manifests.c.id == name)).scalar_one()

    def _retire(self, manifest_id: str) -> bool:
        child = manifests.alias("child")
        named = (
            exists().where(image_locations.c.manifest == manifest_id),
            exists().where(pin_bases.c.manifest_id == manifest_id),
            exists().where(child.c.base == manifest_id, child.c.state == ManifestState.LIVE.value),
        )
        retired = self._connection.execute(
            update(manifests)
            .where(manifests.c.id == manifest_id, manifests.c.state == ManifestState.LIVE.value)
            .where(*(~each for each in named))
            .values(state=ManifestState.RETIRED.value)
        )
        return retired.rowcount == 1


def manifest_of(row: Row[*tuple[Any, ...]]) -> Manifest:
    """The manifest of a row of `manifests`."""
    return Manifest(
        id=row.id,
        digest=row.digest,
        base=row.base,
        depth=row.depth,
        size=row.size,
        listed=row.listed,
        state=ManifestState(row.state),
    )
