"""Verification: index ↔ packs ↔ manifests, every byte if asked for. It stands beside running servers.

The order keeps what comes meanwhile from looking like damage: the roots are the snapshot that was taken before; rows
are put before a manifest is named, so every block of it has one; a pack that was open is checked up to where rows
named it when the register was read. Whatever looks wrong and could have moved is looked at once more.

    index pages │ manifests (their blocks marked) │ packs, each entry's row compared │ all rows, counted by pack
    and compared with the marks │ what is harmed: manifests again, only if something is

A pack whose rows are as many as its entries that are named by a row is right; the rows of any other are looked at one
by one. So nothing is kept a row but for packs in doubt.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from blockstore import clock, journal, listing
from blockstore.errors import BlockstoreError, Damaged, Missing
from blockstore.findings import Finding, Suspects, Verified
from blockstore.index.contract import PackState
from blockstore.marks import Marks, prefixes
from blockstore.pipeline.crew import Crew
from blockstore.roots import path_of
from blockstore.throttle import Throttle
from blockstore.verify_manifests import CheckedManifest, check_manifest, users_of
from blockstore.verify_packs import PackCheck, compare_pack
from blockstore.verify_rows import RowCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord
    from blockstore.progress import Progress
    from blockstore.roots import PinRoot, Roots


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to do: `data` reads every byte, at most `rate` bytes a second; `mark` hides damaged blocks from dedup."""

    data: bool = False
    rate: int | None = None
    threads: int | None = None
    mark: bool = True


def verify(
    store: BareStore, roots: Roots, wanted: Wanted, progress: Progress, roots_now: Callable[[], Roots]
) -> Verified:
    """Look at everything below `roots`, a snapshot taken after the store was opened; see the module.

    `roots_now` takes another one, to ask whether what misses is still wanted.
    """
    return _Verification(store, roots, wanted, progress, roots_now).run()


class _Verification:
    def __init__(
        self, store: BareStore, roots: Roots, wanted: Wanted, progress: Progress, roots_now: Callable[[], Roots]
    ) -> None:
        self._store = store
        self._roots = roots
        self._wanted = wanted
        self._progress = progress
        self._roots_now = roots_now
        self._result = Verified(wanted.data)
        self._marks = Marks()
        self._named: dict[int, int] = {}
        self._suspects = Suspects()

    def run(self) -> Verified:
        began = clock.monotonic()
        try:
            self._store.index.check()
        except Damaged as error:
            # Nothing that the index says can be believed, so there is nothing to compare with.
            self._result.add(Finding(str(self._store.root / "index"), 0, 0, str(error)))
            return self._result
        try:
            self._check_manifests()
            self._check_journals()
            self._check_packs(self._store.index.packs())
            told = self._result, self._suspects, self._progress
            rows = RowCheck(self._store, self._marks, self._named, *told, data=self._wanted.data)
            missing = rows.run()
            # Found before, and not healed since: headers alone do not show it.
            self._suspects.digests.update(name for name, _ in self._store.index.bad_rows())
            self._tell_harm(missing)
            self._mark()
        finally:
            self._marks.close()
        self._result.seconds = clock.monotonic() - began
        return self._result

    # Manifests.

    def _check_manifests(self) -> None:
        live = self._roots.live
        self._progress.begin("manifests", len(live))
        wrong: dict[str, CheckedManifest] = {}
        single = 0
        for done, root in enumerate(live.values(), 1):
            checked = check_manifest(root, self._roots, self._store.root, self._store.data.store, self._marks)
            single += checked.single
            if checked.wrong:
                wrong[root.name] = checked
            self._progress.moved(done)
        self._result.manifests = len(live)
        # Deleted meanwhile, a manifest may be gone, and nobody wants it.
        still = self._roots_now().live if wrong else {}
        for name in wrong.keys() & still.keys():
            if not wrong[name].readable:
                self._result.harmed[name] = 0
            for file, spot in wrong[name].wrong:
                self._result.add(Finding(str(file), spot.begins, spot.ends, spot.why))
        if single:
            self._result.notes.append(f"{single} manifests have one copy only: `drystone admin scrub` writes the other")

    def _check_journals(self) -> None:
        """Those of live pins: a torn tail is no damage, one that was acknowledged is."""
        gone = []
        for name, pin in self._roots.pins.items():
            path = journal.path_of(self._store.root / "journals", name)
            valid = 0
            try:
                for records in journal.read(path, pin.acknowledged):
                    valid += len(records)
            except Missing:
                gone.append((name, path))
            except Damaged as error:
                begins = journal.HEADER_SIZE + valid * journal.RECORD_SIZE if valid else 0
                self._tell_journal(path, begins, str(error), pin)
        # A stream's is made with its first record, and any goes with its pin.
        still = self._roots_now().pins if gone else {}
        for name, path in gone:
            if name in still and still[name].acknowledged:
                self._tell_journal(path, 0, f"{path} is gone", still[name])

    def _tell_journal(self, path: Path, begins: int, why: str, pin: PinRoot) -> None:
        self._result.add(Finding(str(path), begins, begins, f"{why}: give {pin.whose} up, and push the image again"))

    # Packs.

    def _check_packs(self, records: Iterable[PackRecord]) -> None:
        present = [record for record in records if record.state is not PackState.RETIRING]
        total = sum(self._size(record) for record in present)
        self._progress.begin("packs", total, "B")
        crew = Crew(self._wanted.threads)
        ahead = 2 * (self._wanted.threads or os.cpu_count() or 1)
        stop = threading.Event()
        check = PackCheck(self._store, crew, Throttle(self._wanted.rate, stop), self._wanted.data, stop, ahead)
        try:
            for pack in check.all(present):
                self._named[pack.record.number] = compare_pack(self._store, pack, self._result, self._suspects)
                self._progress.moved(self._result.bytes)
        finally:
            stop.set()
            crew.close()
        self._tell_strangers()

    def _size(self, record: PackRecord) -> int:
        with contextlib.suppress(FileNotFoundError):
            return self._store.packs.path(record.name).stat().st_size
        return 0

    def _tell_strangers(self) -> None:
        known = {record.name.hex() for record in self._store.index.packs()}
        strange = [listed for listed in listing.packs(self._store.root) if listed.name not in known]
        # Read again: one may have come since.
        known |= {record.name.hex() for record in self._store.index.packs()}
        strange = [listed for listed in strange if listed.name not in known and listed.path.exists()]
        if strange:
            self._result.notes.append(
                f"{len(strange)} packs are not in the index's register, {strange[0].path} for one: "
                "`drystone admin rebuild-index` takes them in"
            )

    # Harm.

    def _tell_harm(self, missing: NDArray[np.uint64]) -> None:
        """Which manifests list blocks that are damaged or have no row; says so of each that misses some."""
        damaged = np.frombuffer(b"".join(sorted(self._suspects.digests)), dtype=np.uint8).reshape(-1, 32)
        suspects = np.union1d(prefixes(damaged), missing)
        if not len(suspects):
            return
        lost: set[bytes] = set()
        # Deleted and collected meanwhile, a manifest misses its blocks, and nobody misses them.
        still = self._roots_now().live
        for name, hits in users_of(self._roots, self._store.root, suspects):
            if name not in still:
                continue
            digests = [hit.tobytes() for hit in hits]
            places = self._store.index.get_many(digests, hidden=True)
            gone = {digest for digest, place in zip(digests, places, strict=True) if place is None}
            harmed = len(gone) + sum(digest in self._suspects.digests for digest in digests)
            if harmed:
                self._result.harmed[name] = self._result.harmed.get(name, 0) + harmed
            for digest in gone - lost:
                what = "has no row in the index: `drystone admin rebuild-index` finds it if a pack has it"
                file = str(path_of(self._store.root, name))
                self._result.add(Finding(file, 0, 0, f"block {digest.hex()} {what}", digest.hex()))
            lost |= gone
        self._result.lost = lost | self._suspects.digests

    def _mark(self) -> None:
        if not self._wanted.mark:
            return
        for digest, place in self._suspects.rows:
            try:
                done = self._store.writer.run(partial(self._store.index.mark_bad, digest, place))
            except BlockstoreError as error:
                self._result.notes.append(f"damaged blocks could not all be marked so: {error}")
                return
            self._result.marked_bad += done
