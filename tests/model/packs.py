"""The bytes behind the rows: packs from their registration to their unlinking, adoption, compaction, retirement.

The model of leases has shown when a row may be forgotten: never while a root or a writer at work reaches it. Here that
is taken as given (`marks`), and rows are condemned, revived and forgotten in every order that it allows. What is asked
is whether each row of a live image names a file that has the block.

Two forms. Embedded: a writer's locks die with it and not before; what it appended and did not sync may be lost then.
Shared: packs are uploaded whole, and anybody at work may lose lease and lock at any step, and goes on.
Writers are of one process: one may take a block that the other has appended and not put yet; then both put its row.
Two ways to retire a pack are explored: set retiring in the transaction that finds no row at it; with `check_after`, set
retiring first, then look for rows, move out what is left, and only then unlink.
Pack 0 is there with all blocks; numbers are given once. `packs` bounds how many there may be in one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.model.protections import protection, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.explore import Parts

BLOCKS: Final = "XY"


class Pack(NamedTuple):
    """Its record, its owner's process lock, its flock, its file, and which blocks are in that: durable or not yet."""

    record: str = "never"
    owned: bool = False
    locked: bool = False
    file: str = "none"
    synced: int = 0
    loose: int = 0


class Row(NamedTuple):
    """Where a block is said to be."""

    pack: int
    condemned: bool = False


class Store(NamedTuple):
    """The index, the register with the files behind it, and the blocks of live images."""

    rows: tuple[Row | None, ...]
    packs: tuple[Pack, ...]
    roots: int

    def with_row(self, block: int, row: Row | None) -> Store:
        return self._replace(rows=replaced(self.rows, block, row))

    def with_pack(self, number: int, **changes: Any) -> Store:
        pack = self.packs[number]._replace(**changes)
        if pack.record == "dropped" and pack.file == "none":
            pack = Pack("dropped")
        return self._replace(packs=replaced(self.packs, number, pack))

    def rows_at(self, number: int, *, condemned: bool = True) -> int:
        """The blocks whose rows name this pack, as bits."""
        rows = enumerate(self.rows)
        return sum(1 << at for at, row in rows if row and row.pack == number and (condemned or not row.condemned))


class Writer(NamedTuple):
    """`pack`: its open one, or that of the other if it has `joined` that; `claims`: what its lease or journal keeps."""

    at: str = "idle"
    block: int = 0
    pack: int = -1
    claims: int = 0
    joined: bool = False
    lost: bool = False


class Collector(NamedTuple):
    """`pack`: the one that it adopts, drops or rewrites; `target`: the one that it writes; `todo`: blocks to move."""

    at: str = "idle"
    pack: int = -1
    target: int = -1
    todo: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRules:
    """What the model's parts go by."""

    blocks: int = 2
    packs: int = 4
    shared: bool = False
    check_after: bool = False
    put_refuses: bool = protection("put_many refuses a row that names a pack which is retiring or unknown")
    put_revives: bool = protection("put_many leaves a condemned row where it is if the new place's pack is retiring")
    move_refuses: bool = protection("move_many refuses a target that is retiring or unknown")
    move_compares: bool = protection("move_many moves a row only from its old place")
    checked_when_retired: bool = protection("rows are looked for when the pack is set retiring, in that transaction")
    checked_before_unlinked: bool = protection("whoever goes on with a pack that another one retired looks for rows")
    condemned_rows_count: bool = protection("a condemned row keeps its pack")
    retiring_first: bool = protection("a pack is retiring before it is unlinked")
    only_sealed_dropped: bool = protection("only a sealed pack is dropped")
    sealed_with_rows: bool = protection("a compaction's target is open until its rows are in")
    asks_owner: bool = protection("a pack is adopted only if its owner's process lock is free")
    asks_flock: bool = protection("a pack is adopted only under its flock")
    register_read_again: bool = protection("an adopter reads the register again under the flock")
    synced_before_rows: bool = protection("a pack is synced before rows name it")
    registered_before_file: bool = protection("a pack is registered before its file is made")
    unlinked_before_dropped: bool = protection("a pack is unlinked before its record goes")
    numbers_once: bool = protection("a pack's name and number are never used again")

    def new(self, store: Store) -> int | None:
        """A number for a new pack."""
        free = ("never",) if self.numbers_once else ("never", "dropped")
        packs = enumerate(store.packs)
        return next((number for number, pack in packs if pack.record in free and pack.file == "none"), None)


def lost(store: Store, *_: Any) -> str | None:
    for block, row in enumerate(store.rows):
        if store.roots >> block & 1:
            name = f"a live image has block {BLOCKS[block]}"
            if row is None:
                return f"{name}, which no row names"
            pack = store.packs[row.pack]
            if pack.file == "none":
                return f"{name}, whose row names pack {row.pack}, and its file is gone"
            if not pack.synced >> block & 1:
                return f"{name}, whose row names pack {row.pack}, which does not hold it"
    return None


def refused(actor: Writer | Collector) -> str | None:
    """Nobody fails for what others do, without any fault."""
    return "an upload or a compaction fails, and nothing was wrong with it" if actor.at == "refused" else None


def delete(store: Store) -> Iterator[tuple[str, Parts]]:
    for block, name in enumerate(BLOCKS[: len(store.rows)]):
        if store.roots >> block & 1:
            yield f"deletes the image of block {name}", (store._replace(roots=store.roots & ~(1 << block)),)


def marks(store: Store, *writers: Writer) -> Iterator[tuple[str, Parts]]:
    kept = store.roots
    for writer in writers:
        kept |= writer.claims
    for block, row in enumerate(store.rows):
        name = BLOCKS[block]
        if row is None:
            continue
        if not row.condemned:
            if not store.roots >> block & 1:
                yield f"condemns {name}", (store.with_row(block, row._replace(condemned=True)), *writers)
        elif kept >> block & 1:
            yield f"revives {name}", (store.with_row(block, row._replace(condemned=False)), *writers)
        else:
            yield f"forgets {name}", (store.with_row(block, None), *writers)


def still(part: Store | Writer | Collector) -> bool:
    """A collector may be dead on the way from the register to the file; what else dies is one of its own steps."""
    if isinstance(part, Store):
        return not part.roots
    return part in {Writer(), Collector()} or part.at in {"unlink", "drop"}


def is_quiet(_: Store, *others: Writer | Collector) -> bool:
    """Not all collectors are dead."""
    return Collector() in others or all(other in {Writer(), Collector()} for other in others)


def left(store: Store, *_: Any) -> str | None:
    if any(store.rows):
        return "rows are left"
    packs = [number for number, pack in enumerate(store.packs) if pack not in {Pack(), Pack("dropped")}]
    return f"pack {packs[0]} is left: {store.packs[packs[0]]}" if packs else None
