"""What roots reach, found in one pass and then kept up with: a new snapshot adds only what is new in it.

New manifests are those whose names were not there before, never those of a later time. A journal is read on from where
it was left; of a session's, that is what was acknowledged, for the rest may be cut off and written again.

A root's file may go while it is looked for: its upload was committed, or its image deleted. Then a later snapshot says
what has become of it, so `catch_up` ends when all that one snapshot names was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blockstore.errors import Missing
from blockstore.mark import journal_names, manifest_names, unknown_journal, unknown_manifest
from blockstore.marks import Marks
from blockstore.names import new_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.collection.pace import Pace
    from blockstore.progress import Progress
    from blockstore.roots import Ledger, ManifestRoot, PinRoot, Roots


class Reached:
    """All blocks that roots reach, as of the last `catch_up`: `marks`. Close it afterwards.

    `run` names the collection, and is older than all that it reads: what was there by then, it has read.
    """

    def __init__(self, store: BareStore, ledger: Ledger, pace: Pace, progress: Progress) -> None:
        self.run = new_name()
        self.marks = Marks()
        self.roots: Roots | None = None
        self._store = store
        self._ledger = ledger
        self._pace = pace
        self._progress = progress
        self._manifests: set[str] = set()
        self._journals: dict[str, int] = {}
        self._fresh: Marks | None = None

    def catch_up(self, fresh: Marks | None = None) -> None:
        """Read what is new since the last time; into `fresh`, too. Damaged or Missing names a root that is no more."""
        self._fresh = fresh
        roots = self.roots = self._ledger.roots()
        gone = self._read(roots, roots.pins, frozenset())
        while gone:
            # What has come since that snapshot was looked up later than it: only what became of these counts.
            self.roots = roots = self._ledger.roots()
            gone = self._read(roots, {name: pin for name, pin in roots.pins.items() if name in gone}, gone)
        self._fresh = None

    def close(self) -> None:
        """Give back the memory."""
        self.marks.close()

    def _read(self, roots: Roots, pins: Mapping[str, PinRoot], gone_before: frozenset[str]) -> frozenset[str]:
        """Read a snapshot's new manifests and these pins; gives those whose files are gone, for a later one to explain.

        What was gone before this snapshot, and is live in it, needs no other explanation.
        """
        gone = set()
        new = [root for name, root in roots.live.items() if name not in self._manifests]
        self._progress.begin("mark", len(new))
        for done, root in enumerate(new, 1):
            try:
                self._read_manifest(root)
            except Missing as error:
                if root.name in gone_before:
                    raise unknown_manifest(error) from error
                gone.add(root.name)
            self._progress.moved(done)
        for name, pin in pins.items():
            try:
                self._read_journal(name, pin)
            except Missing as error:
                # A pin's journal goes after the pin; a stream's is made with its first record.
                if name not in gone_before:
                    gone.add(name)
                elif pin.acknowledged:
                    raise unknown_journal(error, pin) from error
        return frozenset(gone)

    def _read_manifest(self, root: ManifestRoot) -> None:
        for names in manifest_names(self._store.root, root):
            self._add(names)
        self._manifests.add(root.name)

    def _read_journal(self, name: str, pin: PinRoot) -> None:
        first = read = self._journals.get(name, 0)
        for names in journal_names(self._store.root, name, pin, first):
            self._add(names)
            read += len(names)
        self._journals[name] = max(first, read if pin.only_grows else min(read, pin.acknowledged))

    def _add(self, names: NDArray[np.uint8]) -> None:
        self._pace.read(names.nbytes)
        self.marks.add(names)
        if self._fresh is not None:
            self._fresh.add(names)
