"""A collection beside a service of this process, in steps: what is to happen at a stage happens there, not by luck.

The stages of a run: `mark` (the first snapshot is read), `condemn` (its roots are marked, nothing is condemned), `wait`
(leases are listed), `mark 2` (the second snapshot), `forget`, `packs`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, cast

from blockstore import garbage
from blockstore.bare_store import BareStore
from blockstore.disk import Disk
from blockstore.garbage import Collecting
from blockstore.index.writer import IndexWriter
from blockstore.progress import Silent
from catalog.sql.records import open_records
from catalog.usecases.administration import CatalogLedger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from blockstore.garbage import Collected
    from blockstore.index.contract import BlockIndex
    from blockstore.roots import Roots
    from blockstore.store import BlockStore

    Act = Callable[[], Awaitable[object]]

ALL: Final = Collecting(share=0, wait=20)
STAGES: Final = ("mark", "condemn", "wait", "mark 2", "forget", "packs")
PATIENCE: Final = 20.0


class AtStages(Silent):
    """Progress that does something when a stage begins, once each."""

    def __init__(self, acts: Mapping[str, Callable[[], object]]) -> None:
        self._acts = dict(acts)
        self._begun: Counter[str] = Counter()

    def begin(self, what: str, total: int, unit: str = "") -> None:
        self._begun[what] += 1
        name = what if self._begun[what] == 1 else f"{what} {self._begun[what]}"
        self._acts.pop(name, lambda: None)()


class WatchedLedger:
    """A ledger that does something after its n-th snapshot was read and before it is given."""

    def __init__(self, ledger: CatalogLedger, acts: Mapping[int, Callable[[], object]]) -> None:
        self._ledger = ledger
        self._acts = dict(acts)
        self._snapshots = 0

    def roots(self) -> Roots:
        roots = self._ledger.roots()
        self._snapshots += 1
        self._acts.pop(self._snapshots, lambda: None)()
        return roots

    def certain_roots(self) -> Roots | None:
        return None if self._ledger.certain_roots() is None else self.roots()

    def forget_retired(self, names: Sequence[str]) -> object:
        return self._ledger.forget_retired(names)

    def expect_order(self, name: str) -> None:
        self._ledger.expect_order(name)


class LateDisk(Disk):
    """Does something once before a file of this kind is unlinked."""

    def __init__(self) -> None:
        self.suffix = ""
        self.before: Callable[[], object] | None = None

    @property
    def is_armed(self) -> bool:
        return self.before is not None

    def unlink(self, path: Path) -> None:
        if self.before is not None and path.suffix == self.suffix:
            before, self.before = self.before, None
            before()
        super().unlink(path)


class WatchedIndex:
    """An index that does something before a call: by its method's name, `forget_many 2` for the second one."""

    def __init__(self, index: BlockIndex, acts: Mapping[str, Callable[[], object]]) -> None:
        self._index = index
        self._acts = dict(acts)
        self._calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self._calls[name] += 1
        call = name if self._calls[name] == 1 else f"{name} {self._calls[name]}"
        self._acts.pop(call, lambda: None)()
        return getattr(self._index, name)


def bare(store: BlockStore) -> BareStore:
    """An open store as a collection sees it: an index is opened once a process."""
    return BareStore(store._data, store.index, store._index_writer, store.packs)


async def collected(
    store: BlockStore,
    acts: Mapping[str, Act] | None = None,
    how: Collecting = ALL,
    *,
    snapshots: Mapping[int, Act] | None = None,
    before: Mapping[str, Act] | None = None,
) -> Collected:
    """Collect on a thread of its own; what is to happen at stages, after snapshots, before calls of the index does."""
    loop = asyncio.get_running_loop()

    def here(act: Act) -> Callable[[], object]:
        async def run() -> object:
            return await act()

        return lambda: asyncio.run_coroutine_threadsafe(run(), loop).result(PATIENCE)

    index = cast("BlockIndex", WatchedIndex(store.index, {name: here(act) for name, act in (before or {}).items()}))
    with (
        closing(IndexWriter()) as writer,
        open_records(store._data.root / "catalog.sqlite") as records,
    ):
        looked_after = BareStore(store._data, index, writer, store.packs)
        ledger = WatchedLedger(CatalogLedger(records), {at: here(act) for at, act in (snapshots or {}).items()})
        progress = AtStages({name: here(act) for name, act in (acts or {}).items()})
        return await asyncio.to_thread(garbage.collect, looked_after, ledger, how, progress)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that comes within moments."""
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")
