"""Loose copies in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from catalog.model.loose import LooseCopy, LooseState
from catalog.sql.location_tables import loose_copies
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Select


class SqlLooseCopies:
    """The port `LooseCopies` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, copy: LooseCopy) -> None:
        """Record a copy that is about to be written."""
        self._connection.execute(insert(loose_copies), _row(copy))

    def settle(self, url: str) -> bool:
        """Delete the row, if it still says that the copy is being written."""
        row = loose_copies.c.url == url, loose_copies.c.state == LooseState.WRITING.value
        return self._connection.execute(delete(loose_copies).where(*row)).rowcount == 1

    def doom(self, copies: Collection[LooseCopy]) -> None:
        """Write the rows anew."""
        if not copies:
            return
        urls = [copy.url for copy in copies]
        self._connection.execute(delete(loose_copies).where(loose_copies.c.url.in_(urls)))
        doomed = {copy.url: _row(copy) | {"state": LooseState.DOOMED.value} for copy in copies}
        self._connection.execute(insert(loose_copies), list(doomed.values()))

    def writing(self) -> Sequence[LooseCopy]:
        """All that are recorded as being written."""
        return self._found(select(loose_copies).where(loose_copies.c.state == LooseState.WRITING.value))

    def doomed(self, store: str, most: int) -> Sequence[LooseCopy]:
        """The first ones of a store, the oldest first."""
        theirs = loose_copies.c.state == LooseState.DOOMED.value, loose_copies.c.store == store
        ordered = select(loose_copies).where(*theirs).order_by(loose_copies.c.since, loose_copies.c.url)
        return self._found(ordered.limit(most))

    def stores(self) -> Collection[str]:
        """The stores of doomed copies."""
        doomed = select(loose_copies.c.store).where(loose_copies.c.state == LooseState.DOOMED.value).distinct()
        return frozenset(self._connection.execute(doomed).scalars())

    def forget(self, url: str) -> None:
        """Delete the row of a doomed copy."""
        row = loose_copies.c.url == url, loose_copies.c.state == LooseState.DOOMED.value
        self._connection.execute(delete(loose_copies).where(*row))

    def _found(self, statement: Select[tuple[Any, ...]]) -> list[LooseCopy]:
        return [
            LooseCopy(
                url=row.url,
                store=row.store,
                image_id=row.image_id,
                holder=row.holder,
                process=row.process,
                since=from_us(row.since),
                state=LooseState(row.state),
            )
            for row in self._connection.execute(statement)
        ]


def _row(copy: LooseCopy) -> dict[str, object]:
    return {
        "url": copy.url,
        "store": copy.store,
        "image_id": copy.image_id,
        "holder": copy.holder,
        "process": copy.process,
        "since": to_us(copy.since),
        "state": copy.state.value,
    }
