"""Manifests in SQL: add, follow a chain, retire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, exists, insert, literal, or_, select, update

from catalog.model.manifest import Ancestor, Manifest, ManifestState, StoredManifest
from catalog.sql.tables import image_locations, kept_locations, manifests, pin_bases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, ColumnElement, Connection, Row


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
        rows = self._connection.execute(_NAMES, {"of_manifest": manifest_id})
        return [StoredManifest(name=row.id, digest=row.digest) for row in rows]

    def ancestry(self, manifest_id: str) -> Sequence[Ancestor]:
        """The same with all that is known of them."""
        has_image = or_(*_of_images(manifests.c.id)).label("has_image")
        found = select(manifests, has_image).join(_CHAIN, _CHAIN.c.id == manifests.c.id).order_by(_CHAIN.c.below)
        rows = self._connection.execute(found, {"of_manifest": manifest_id})
        return [Ancestor(manifest_of(row), row.has_image) for row in rows]

    def retire_unnamed(self, manifest_id: str) -> str | None:
        """Retire the manifest if nothing names it, then its base on the same terms, and so on down."""
        name: str | None = manifest_id
        while name is not None and self._retire(name):
            name = self._connection.execute(select(manifests.c.base).where(manifests.c.id == name)).scalar_one()
        return name

    def last_heirs(self, manifest_id: str) -> Sequence[str]:
        """Up from child to child, while there is one only."""
        name = manifest_id
        while not self._is_named(name):
            live = manifests.c.state == ManifestState.LIVE.value
            children = self._connection.execute(select(manifests.c.id).where(manifests.c.base == name, live).limit(2))
            match children.scalars().all():
                case [child]:
                    name = child
                case _:
                    return ()
        if name == manifest_id:
            return ()
        holders = select(image_locations.c.image_id).where(image_locations.c.manifest == name).distinct()
        return self._connection.execute(holders).scalars().all()

    def _is_named(self, manifest_id: str) -> bool:
        """Whether an image or a pin has this very manifest."""
        return bool(self._connection.execute(select(or_(*_names(manifest_id)))).scalar_one())

    def _retire(self, manifest_id: str) -> bool:
        child = manifests.alias("child")
        has_child = exists().where(child.c.base == manifest_id, child.c.state == ManifestState.LIVE.value)
        retired = self._connection.execute(
            update(manifests)
            .where(manifests.c.id == manifest_id, manifests.c.state == ManifestState.LIVE.value)
            .where(~has_child, *(~each for each in _names(manifest_id)))
            .values(state=ManifestState.RETIRED.value)
        )
        return retired.rowcount == 1


def _names(manifest_id: str) -> tuple[ColumnElement[bool], ...]:
    """All that may name this very manifest, beside a child: each a condition that says whether something does."""
    return (*_of_images(manifest_id), exists().where(pin_bases.c.manifest_id == manifest_id))


def _of_images(manifest_id: str | ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    # A deleted image that can be brought back is one.
    return tuple(exists().where(table.c.manifest == manifest_id) for table in (image_locations, kept_locations))


def _chain() -> CTE:
    """The manifest that is asked for as `of_manifest`, and those below it."""
    top = (
        select(manifests.c.id, manifests.c.digest, manifests.c.base, literal(0).label("below"))
        .where(manifests.c.id == bindparam("of_manifest"))
        .cte("chain", recursive=True)
    )
    under = select(manifests.c.id, manifests.c.digest, manifests.c.base, top.c.below + 1)
    return top.union_all(under.join(top, manifests.c.id == top.c.base))


# Made once: each read of an image asks, and to make it takes several times as long as to run it.
_CHAIN: Final = _chain()
_NAMES: Final = select(_CHAIN.c.id, _CHAIN.c.digest).order_by(_CHAIN.c.below)


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
