"""Work that stands still before one of its steps, as a process that is stopped does, and goes on later."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from blockstore.bare_store import BareStore
from blockstore.index.writer import IndexWriter
from blockstore.packs.local import LocalPacks
from tests.kit.faulty_disk import CountingDisk

if TYPE_CHECKING:
    from collections.abc import Callable

    from blockstore.index.contract import BlockIndex
    from blockstore.store import BlockStore


class Freezer:
    """Stands still before step `at` (steps of the disk, and calls of the index, counted from 1) until `thaw`."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps: list[str] = []
        self.frozen = threading.Event()
        self._go_on = threading.Event()

    def step(self, what: str) -> None:
        self.steps.append(what)
        if len(self.steps) == self.at:
            self.frozen.set()
            assert self._go_on.wait(60)

    def thaw(self) -> None:
        self._go_on.set()


class SteppingDisk(CountingDisk):
    def __init__(self, freezer: Freezer) -> None:
        super().__init__()
        self._freezer = freezer

    def at_step(self, number: int, what: str) -> None:
        self._freezer.step(what)


class SteppingIndex:
    """An index that tells of each call before it is made."""

    def __init__(self, index: BlockIndex, step: Callable[[str], object]) -> None:
        self._index = index
        self._step = step

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._index, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._step(name)
            return real(*arguments, **named)

        return call


def stepping(store: BlockStore, step: Callable[[str], object], disk: CountingDisk | None = None) -> BareStore:
    """The store as those see it who look after the data, where `step` is told of each call of the index."""
    data = replace(store._data, disk=disk or store.disk)
    packs = LocalPacks(data.folder("packs"), data.store, data.disk)
    return BareStore(data, cast("BlockIndex", SteppingIndex(store.index, step)), IndexWriter(), packs)


def freezing(store: BlockStore, freezer: Freezer) -> BareStore:
    """The same, where the disk's steps count as well."""
    return stepping(store, freezer.step, SteppingDisk(freezer))
