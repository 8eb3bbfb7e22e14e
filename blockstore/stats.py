"""What the block store holds, counted: blocks, packs, manifests, the index, and what is nobody's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore import listing, verified_at
from blockstore.index.contract import PackState
from blockstore.leases.flock import held_files
from blockstore.mark import mark
from blockstore.marks import compare
from blockstore.usage import Usage, occupied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import IndexSize
    from blockstore.listing import Listed
    from blockstore.progress import Progress
    from blockstore.roots import Roots
    from blockstore.verified_at import PacksVerified


@dataclass(frozen=True, slots=True)
class Pile:
    """Files of one kind: how many, their bytes, and what they take on the disk."""

    files: int
    bytes: int
    taken: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks: how many, their raw bytes, and their bytes as stored, entry headers included."""

    blocks: int
    raw: int
    stored: int


@dataclass(frozen=True, slots=True)
class Dead:
    """Entries that no row names: how many, and their bytes in packs."""

    blocks: int
    stored: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The figures. `dead` are entries that no row names; `garbage`, if it was asked for, rows that no root reaches."""

    unique: Blocks
    dead: Dead
    packs: dict[str, Pile]
    manifests: dict[str, Pile]
    journals: dict[str, Pile]
    index: IndexSize
    leases: int
    processes: int
    disk: int
    verified: PacksVerified
    garbage: Blocks | None


def stats(store: BareStore, roots: Roots, progress: Progress, *, garbage: bool) -> StoreStats:
    """Count everything; a scan of the index, and with `garbage` every live manifest is read. Nothing is changed."""
    usage, unreached = _scan(store, roots, progress, garbage=garbage)
    packs, dead = _packs(store, usage, progress)
    manifests: dict[str, list[Listed]] = {"live": [], "retired": [], "orphaned": []}
    for listed in listing.manifests(store.root):
        kind = "live" if listed.name in roots.live else "retired" if listed.name in roots.retired else "orphaned"
        manifests[kind].append(listed)
    manifests |= {"second": list(listing.seconds(store.root)), "places": list(listing.places(store.root))}
    journals: dict[str, list[Listed]] = {"pinned": [], "orphaned": []}
    for listed in listing.journals(store.root):
        journals["pinned" if listed.name in roots.pins else "orphaned"].append(listed)
    sealed = [record.name for record in store.index.packs() if record.state is PackState.SEALED]
    return StoreStats(
        unique=Blocks(sum(usage.rows.values()), usage.raw, sum(usage.stored.values())),
        dead=dead,
        packs=packs,
        manifests={kind: _pile(files) for kind, files in manifests.items()},
        journals={kind: _pile(files) for kind, files in journals.items()},
        index=store.index.size(),
        leases=len(held_files(store.data.folder("leases"))),
        processes=len(held_files(store.data.folder("processes"))),
        disk=listing.taken(store.root),
        verified=verified_at.load(store.root, store.data.store).of(sealed),
        garbage=unreached,
    )


def _scan(store: BareStore, roots: Roots, progress: Progress, *, garbage: bool) -> tuple[Usage, Blocks | None]:
    usage, unreached = Usage(), Usage()
    done = 0
    if not garbage:
        progress.begin("index", store.index.size().rows)
        for rows in store.index.rows():
            usage.add(rows)
            done += len(rows)
            progress.moved(done)
        return usage, None
    marks = mark(store, roots, progress)
    try:
        progress.begin("index", store.index.size().rows)
        for part in compare(store.index.rows(), marks):
            usage.add(part.rows)
            unreached.add(part.rows[~part.marked])
            done += len(part.rows)
            progress.moved(done)
    finally:
        marks.close()
    return usage, Blocks(sum(unreached.rows.values()), unreached.raw, sum(unreached.stored.values()))


def _packs(store: BareStore, usage: Usage, progress: Progress) -> tuple[dict[str, Pile], Dead]:
    records = store.index.packs()
    progress.begin("packs", len(records))
    piles: dict[str, list[tuple[int, int]]] = {state.name.lower(): [] for state in PackState}
    entries = size = 0
    for done, record in enumerate(records, 1):
        found = occupied(store, record)
        if found is not None:
            piles[record.state.name.lower()].append((found.size, found.taken))
            # An open pack may have grown since the rows were counted: what is not there yet is never dead.
            entries += max(0, found.entries - usage.rows[record.number])
            size += max(0, found.bytes - usage.stored[record.number])
        progress.moved(done)
    packs = {
        state: Pile(len(files), sum(f[0] for f in files), sum(f[1] for f in files)) for state, files in piles.items()
    }
    return packs, Dead(entries, size)


def _pile(files: Sequence[Listed]) -> Pile:
    return Pile(len(files), sum(listed.size for listed in files), sum(listed.taken for listed in files))
