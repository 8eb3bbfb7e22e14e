"""Which packs are worth rewriting: those with much that is dead, and many small ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore.index.contract import PackState
from blockstore.open_pack import FULL
from blockstore.usage import occupied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord
    from blockstore.usage import Usage

SHARE: Final = 0.2
"""A pack with a greater share of dead bytes is rewritten."""
SLACK: Final = 0.08
"""And the deadest of the others, until no more than this share of what lives is dead."""
SMALL: Final = FULL // 4
"""A pack of fewer bytes is small …"""
FEW: Final = 16
"""… and when there are so many of them they are put together."""


@dataclass(frozen=True, slots=True)
class Fate:
    """A pack: how many rows name it and their bytes, its dead entries and their bytes, all bytes of its file."""

    record: PackRecord
    rows: int
    live_bytes: int
    dead: int
    dead_bytes: int
    bytes: int
    taken: int

    @property
    def share(self) -> float:
        """How much of it is dead, 0 to 1."""
        return self.dead_bytes / self.bytes if self.bytes else 0.0


def fates(store: BareStore, records: Iterable[PackRecord], usage: Usage) -> Iterator[Fate | PackRecord]:
    """What is to become of packs that nobody writes to any more; the record itself of one whose file is gone."""
    for record in records:
        if record.state is PackState.OPEN:
            continue
        found = occupied(store, record)
        if found is None:
            yield record
            continue
        rows, live = usage.rows[record.number], usage.stored[record.number]
        dead = max(0, found.entries - rows), max(0, found.bytes - live)
        yield Fate(record, rows, live, *dead, found.bytes, found.taken)


def to_rewrite(packs: Iterable[Fate], share: float, slack: float) -> list[Fate]:
    """Those that are worth it, by number, so that what was stored together stays together."""
    alive = sorted((pack for pack in packs if pack.rows), key=lambda pack: pack.share, reverse=True)
    dead, live = sum(pack.dead_bytes for pack in alive), sum(pack.live_bytes for pack in alive)
    small = [pack for pack in alive if pack.live_bytes < SMALL]
    chosen = {pack.record.number: pack for pack in small if len(small) >= FEW}
    for pack in alive:
        if pack.share > share or (pack.dead_bytes and dead > slack * live):
            chosen[pack.record.number] = pack
            dead -= pack.dead_bytes
    return [chosen[number] for number in sorted(chosen)]
