"""Scrubbing: every byte of every manifest and pack read again from the disk, slowly, and what can be mended is.

    manifests: both copies, a bad one is written anew from the good one │ packs: every entry; a bad block that a row
    names is marked at once, so that nobody builds on it │ packs with places that no entry explains: their rows, one by
    one │ bad blocks of which another whole entry lies somewhere: the row is given that one

One process scrubs at a time, beside servers. `verified_at.py` keeps when each file was looked at, which is the cursor:
a pass that is interrupted goes on with what it has not seen yet. A pass has the files that were there when it went over
them; what comes later is the next one's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore import clock, manifest_copies, verified_at
from blockstore.errors import BlockstoreError, Damaged, Missing
from blockstore.findings import Finding, Suspects, Verified
from blockstore.index.contract import PackState
from blockstore.marks import Marks
from blockstore.other_entries import find_others
from blockstore.pack_contents import Spot
from blockstore.pipeline.crew import Crew
from blockstore.roots import path_of
from blockstore.throttle import Throttle
from blockstore.verify_packs import PackCheck, compare_pack
from blockstore.verify_rows import RowCheck

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord
    from blockstore.progress import Progress
    from blockstore.roots import ManifestRoot, Roots
    from blockstore.verified_at import VerifiedAt

SAVE_EVERY: Final = 10.0
"""Seconds of work that a killed pass may have to do again, at least."""
SAVE_SHARE: Final = 0.02
"""Of its time that a pass spends on writing down how far it is, at most: with very many packs that file is long."""


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """How: at most `rate` bytes a second are read, on `threads` threads."""

    rate: int | None = None
    threads: int = 1


@dataclass(slots=True)
class Scrubbed:
    """What one run has looked at and found; `healed` blocks were given another place, `mended` files written anew.

    `bad` are the blocks that rows still name where they are damaged, whoever found them; `unreadable` the live
    manifests of which no copy is right.
    """

    looked: Verified = field(default_factory=lambda: Verified(data=True))
    mended: list[str] = field(default_factory=list)
    healed: int = 0
    bad: frozenset[bytes] = frozenset()
    unreadable: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing is wrong that is not mended, or harms nobody."""
        return not (self.bad or self.unreadable or any(not finding.harmless for finding in self.looked.findings))


def scrub(
    store: BareStore,
    how: Scrubbing,
    progress: Progress,
    roots: Callable[[], Roots],
) -> Scrubbed:
    """Go on with the pass that was interrupted, or begin one, and end it; `roots` takes a snapshot of the records.

    DataRefused if another process scrubs.
    """
    with verified_at.alone(store.root, store.disk):
        return _Pass(store, how, progress, roots).run()


class _Pass:
    def __init__(self, store: BareStore, how: Scrubbing, progress: Progress, roots: Callable[[], Roots]) -> None:
        self._store = store
        self._how = how
        self._progress = progress
        self._roots = roots
        self._stop = threading.Event()
        self._throttle = Throttle(how.rate, self._stop)
        self._result = Scrubbed()
        self._suspects = Suspects()
        self._marked = 0
        self._doubtful: dict[int, PackRecord] = {}
        self._state: VerifiedAt = verified_at.load(store.root, store.data.store)
        self._saved = clock.monotonic()
        self._pause = SAVE_EVERY

    def run(self) -> Scrubbed:
        began = clock.monotonic()
        if not self._state.began:
            self._state.began = clock.now_us()
            self._save()
        manifest_copies.remove_half_made(self._store.data.folder("manifests"), self._store.disk)
        try:
            self._manifests()
            self._packs()
            self._rows_in_doubt()
        finally:
            # However it ends: what was read need not be read again.
            self._save()
        bad = self._store.index.bad_rows()
        if bad:
            self._result.healed = find_others(self._store, [name for name, _ in bad], self._throttle, self._progress)
            bad = self._store.index.bad_rows()
        self._result.bad = frozenset(name for name, _ in bad)
        self._end()
        self._result.looked.seconds = clock.monotonic() - began
        return self._result

    # Manifests.

    def _manifests(self) -> None:
        live = sorted(self._roots().live.values(), key=lambda root: root.name)
        self._progress.begin("manifests", len(live))
        for done, root in enumerate(live, 1):
            if not self._state.is_done(bytes.fromhex(root.name)):
                self._manifest(root)
            self._progress.moved(done)
        self._result.looked.manifests = len(live)

    def _manifest(self, root: ManifestRoot) -> None:
        for copy in manifest_copies.copies_of(path_of(self._store.root, root.name)):
            _forget_cached(copy)
            spots = list(manifest_copies.check_copy(copy, root.digest, self._throttle))
            if spots or not copy.exists():
                self._mend(root, copy, spots)
        # One that is harmed is looked at again by whoever goes on with this pass: nothing else remembers it.
        if root.name not in self._result.unreadable:
            self._looked_at(bytes.fromhex(root.name))

    def _mend(self, root: ManifestRoot, copy: Path, spots: list[Spot]) -> None:
        """Write the copy anew; what cannot be is left as it is, and told."""
        if root.name not in self._roots().live:
            # Deleted meanwhile: it may be gone, and nobody wants it.
            return
        path = path_of(self._store.root, root.name)
        try:
            manifest_copies.mend(path, root.digest, copy, self._store.disk)
        except (Damaged, Missing) as error:
            for spot in spots or [Spot(0, 0, str(error))]:
                self._tell(copy, spot, spot.why, harmless=False)
            if root.name not in self._result.unreadable:
                self._result.unreadable.append(root.name)
        except BlockstoreError as error:
            self._result.looked.notes.append(f"{copy} could not be mended: {error}")
        else:
            self._result.mended.append(str(copy))
            if copy == path and not spots:
                spots = [Spot(0, 0, "it was gone")]
            for spot in spots:
                self._tell(copy, spot, f"{spot.why}; written anew from the other copy", harmless=True)

    def _tell(self, copy: Path, spot: Spot, what: str, *, harmless: bool) -> None:
        self._result.looked.add(Finding(str(copy), spot.begins, spot.ends, what, harmless=harmless))

    # Packs.

    def _packs(self) -> None:
        todo = [record for record in self._store.index.packs() if self._is_to_do(record)]
        self._progress.begin("packs", len(todo))
        crew = Crew(self._how.threads)
        ahead = self._how.threads
        stop = threading.Event()
        check = PackCheck(self._store, crew, self._throttle, data=True, stop=stop, ahead=ahead, from_disk=True)
        try:
            for done, pack in enumerate(check.all(todo), 1):
                compare_pack(self._store, pack, self._result.looked, self._suspects)
                self._mark()
                if any(spot.digest is None for spot in pack.spots):
                    # Not looked at before its rows are: nothing else remembers it, see `_rows_in_doubt`.
                    self._doubtful[pack.record.number] = pack.record
                elif pack.record.state is PackState.SEALED:
                    self._looked_at(pack.record.name)
                self._progress.moved(done)
        except BaseException:
            # Those who wait for their share of the rate are not waited for.
            self._stop.set()
            raise
        finally:
            stop.set()
            crew.close()

    def _is_to_do(self, record: PackRecord) -> bool:
        """An open one is looked at as far as rows name it, and again in the next pass."""
        return record.state is not PackState.RETIRING and not self._state.is_done(record.name)

    def _rows_in_doubt(self) -> None:
        """Rows that name places in which no entry was found."""
        if self._doubtful:
            looked = Verified(data=True)
            with_marks = Marks()
            try:
                rows = RowCheck(self._store, with_marks, {}, looked, self._suspects, self._progress, data=True)
                rows.check_packs(self._doubtful.keys())
            finally:
                with_marks.close()
            for finding in looked.findings:
                self._result.looked.add(finding)
            self._mark()
            for record in self._doubtful.values():
                if record.state is PackState.SEALED:
                    self._looked_at(record.name)

    def _mark(self) -> None:
        """Hide from dedup, at once, what was found damaged since the last time."""
        for name, place in self._suspects.rows[self._marked :]:
            try:
                marked = self._store.writer.run(partial(self._store.index.mark_bad, name, place))
            except BlockstoreError as error:
                self._result.looked.notes.append(f"damaged blocks could not all be marked so: {error}")
                return
            self._marked += 1
            self._result.looked.marked_bad += marked

    # The cursor.

    def _looked_at(self, name: bytes) -> None:
        self._state.times[name] = clock.now_us()
        if clock.monotonic() - self._saved > self._pause:
            self._save()

    def _save(self) -> None:
        began = clock.monotonic()
        verified_at.save(self._store.root, self._state, self._store.disk)
        self._saved = clock.monotonic()
        self._pause = max(SAVE_EVERY, (self._saved - began) / SAVE_SHARE)

    def _end(self) -> None:
        """The pass is over: forget what there is no more."""
        there = {record.name for record in self._store.index.packs()}
        there |= {bytes.fromhex(name) for name in self._roots().live}
        self._state.times = {name: at for name, at in self._state.times.items() if name in there}
        self._state.began, self._state.finished = 0, clock.now_us()
        self._save()


def _forget_cached(path: Path) -> None:
    """Let the next read of the file be one of the disk."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
