"""A bare store whose images come without a catalog, and its compaction beside whoever has it open."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from blockstore.bare_store import BareStore
from blockstore.compaction.copying import Copying
from blockstore.compaction.pace import Turns
from blockstore.compaction.retiring import contents_of, rows_in
from blockstore.compaction.run import Compacted, Compacting, Counted, compact
from blockstore.index.contract import PackState
from blockstore.index.writer import IndexWriter
from blockstore.progress import Silent
from blockstore.roots import ManifestRoot, Roots
from blockstore.throttle import Throttle
from blockstore.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from blockstore.store import BlockStore

FULL = 256 * 1024
NO_ROOTS = Roots({}, frozenset(), {})


def roots_of(chains: Iterable[Sequence[tuple[str, bytes]]]) -> Roots:
    """Roots that say of images, given as chains (newest first), what a catalog would."""
    live = {}
    for chain in chains:
        for at, (name, digest) in enumerate(chain):
            base = chain[at + 1][0] if at + 1 < len(chain) else None
            live[name] = ManifestRoot(name, digest, base, len(chain) - at - 1, 0)
    return Roots(live, frozenset(), {})


def counted(store: BareStore | BlockStore) -> Counted:
    """The packs, and what rows name now."""
    packs, usage = store.index.packs(), Usage()
    for rows in store.index.rows():
        usage.add(rows)
    return Counted(packs, usage)


def compacted_beside(store: BareStore, what: Counted, how: Compacting, roots: Roots = NO_ROOTS) -> Compacted:
    """Compact a bare store, given what was counted before."""
    return compact(store, what, roots, how, Silent(), Turns(store.writer, Throttle(None)))


def bare(store: BlockStore) -> BareStore:
    """The same store, as those see it who look after the data: in tests, within its process."""
    return BareStore(store._data, store.index, IndexWriter(), store.packs)


def compacted(
    store: BlockStore,
    chains: Iterable[Sequence[tuple[str, bytes]]] = (),
    how: Compacting = Compacting(share=0, slack=0, full=FULL),  # noqa: B008 - it is frozen
) -> Compacted:
    """Compact a store that is open and in use."""
    beside = bare(store)
    try:
        return compacted_beside(beside, counted(store), how, roots_of(chains))
    finally:
        beside.writer.close()


def forget(store: BlockStore, digests: Sequence[bytes]) -> None:
    """Take rows away, as a collection does."""
    for first in range(0, len(digests), 4096):
        part = digests[first : first + 4096]
        store.index.condemn_many(part, b"run")
        store.index.forget_many(part, b"run")


def move_all(store: BareStore, *, full: int) -> None:
    """Move all rows that are in sealed packs into new packs of `full` bytes, and remove the old ones."""
    records = {record.number: record for record in store.index.packs() if record.state is not PackState.OPEN}
    with closing(Copying(store, records, Turns(store.writer, Throttle(None)), full)) as work:
        for record in records.values():
            contents = contents_of(store, record)
            assert contents is not None
            for part in rows_in(store, record.number, contents.entries):
                work.copy(part)
            work.remove_when_moved(record)
        work.finish()
    assert work.removed == len(records)
