"""What one round of syncs has to make durable, and for whom."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from blockstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from blockstore.block import Place
    from blockstore.errors import BlockstoreError
    from blockstore.journal import Record
    from blockstore.leases.contract import Lease
    from blockstore.packs.local import PackWriter

log = logging.getLogger(__name__)


class Session(Protocol):
    """An upload as a generation sees it."""

    def write_journal(self, records: Sequence[Record]) -> None:
        """Append records to the pin's journal and sync it; on any thread, one call at a time."""

    def generation_closed(self, generation: Generation, error: BlockstoreError | None) -> None:
        """What this session noted in the generation is durable; or, with an error, lost.

        If this raises, it is called once more, with an error: whoever waits for the session must hear of it then.
        """


@dataclass(frozen=True, slots=True)
class Pending:
    """Where a block lies that no row names yet, and the pack that must be synced before one may."""

    place: Place
    pack: PackWriter


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append came to: new blocks, the bytes written for them, and where all that it refers to lie."""

    blocks: int
    size: int
    places: Mapping[bytes, Place]


@dataclass(slots=True)
class Generation:
    """What one round has to make durable; guarded by the lock of its Generations."""

    lease: Lease
    opened: float
    admitted: int = 0
    size: int = 0
    noted: int = 0
    rows: dict[bytes, Place] = field(default_factory=dict)
    packs: set[PackWriter] = field(default_factory=set)
    stored: dict[bytes, Pending] = field(default_factory=dict)
    notes: dict[Session, list[Record]] = field(default_factory=dict)
    waiters: list[Future[None]] = field(default_factory=list)

    @property
    def lost(self) -> bool:
        """Whether a pack that it must sync is poisoned: it can only fail."""
        return any(pack.poisoned for pack in self.packs)

    def tell(self, error: BlockstoreError | None) -> None:
        """Tell each session that this generation is closed, well or with an error. None keeps another from hearing."""
        for session in self.notes:
            try:
                session.generation_closed(self, error)
            except Exception as fault:
                log.exception("an upload could not take in that its generation is closed, and fails")
                self._fail(session, StoreUnavailable(f"the store failed inside: {fault}"))

    def _fail(self, session: Session, error: BlockstoreError) -> None:
        """Otherwise the session would wait for ever."""
        try:
            session.generation_closed(self, error)
        except Exception:
            log.exception("an upload could not take in that it fails")
