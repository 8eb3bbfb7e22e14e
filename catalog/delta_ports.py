"""What delta uploads need of the world: records of them, and a block store that takes blocks in by number.

Contracts beside those of `ports.py`; `sql/deltas.py` and `stores/delta_blocks.py` fulfil them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from blockstore.sent_blocks import EntryBegins, NumberRange, SentHeld, SentHoles
    from blockstore.unnamed import Hold
    from catalog.model.delta import Delta, UnderWay
    from catalog.model.manifest import StoredManifest
    from catalog.ports import Written

    Part: TypeAlias = EntryBegins | memoryview | SentHoles | SentHeld
    """An entry's length, its bytes piece by piece, or numbers; pieces may be reused once the next part is asked for."""

    Locate: TypeAlias = Callable[[str], Awaitable[Sequence[StoredManifest]]]
    """The chain of an image that the caller may read now, newest first; empty for any other."""


@dataclass(frozen=True, slots=True)
class ArrivedBlocks:
    """A page of what has arrived: ranges, how many blocks in all, the number to go on at, the journal's records."""

    ranges: Sequence[NumberRange]
    blocks: int
    next: int | None
    records: int


class Deltas(Protocol):
    """Delta uploads in one transaction. A record goes with its pin."""

    def add(self, delta: Delta) -> None:
        """Keep a delta upload whose pin was added before."""
        ...

    def get(self, upload_id: str) -> Delta | None:
        """The delta upload, or None."""
        ...

    def renew(self, upload_id: str, *, expires_at: datetime, acknowledged: bool = False, records: int = 0) -> bool:
        """Let it live on, and count a request that is about to be acknowledged; False when its pin is gone.

        `records`: so many of its journal are about to be told of; the greatest number that was ever said counts.
        """
        ...

    def under_way(self, owner: str | None) -> UnderWay:
        """What a project has under way."""
        ...

    def expired(self, now: datetime) -> Sequence[Delta]:
        """Those whose time is over."""
        ...


class DeltaBlocks(Protocol):
    """The block store's side of delta uploads. Errors of the block store pass through all of it.

    JournalDamaged from any of them: fewer records are there than `Delta.records` says; nothing was changed.
    """

    async def begin(self, delta: Delta) -> Hold:
        """Make the upload's journal, before its pin; `Blocks.forget_journal` removes it.

        It could be taken for garbage when the hold is let go, so that comes after the transaction of the pin.
        """
        ...

    async def take(self, delta: Delta, parts: AsyncIterator[Part], locate: Locate) -> int:
        """Take one request's blocks in; when this returns, all of them are durable and journaled.

        Gives how many records the journal then has, at least: what `Deltas.renew` is told before anybody else is.

        Memory is the budget's for uploads. After an error, or a cancellation, some of the blocks before it may have
        arrived, and nothing of this request runs any more. Raises BlockRefused, BlockConflict, BlockNotHeld,
        LimitExceeded, and what `parts` does.
        """
        ...

    async def arrived(self, delta: Delta, *, start: int, most: int) -> ArrivedBlocks:
        """What has arrived from number `start` on, durable, in at most so many ranges."""
        ...

    async def build(self, delta: Delta, base: Sequence[StoredManifest], *, expected: int | None) -> Written:
        """A durable manifest of what has arrived, over the chain `base`, that nothing names yet.

        BlocksMissing when blocks must be sent that were not, or when others than `expected` have arrived.
        """
        ...
