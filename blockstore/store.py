"""One process's block store: the parts joined, and the three things one does with it: write, read, close.

Example:
    store = BlockStore.open(Path("data"))
    writer = store.writer(new_name().hex(), store.slabs.admit(store.slab_size(USUAL)), taps=[HashTap("sha512")])
    slab = writer.acquire()
    …fill slab.view…
    writer.submit(slab, filled, last=True)
    result = writer.finish().result()
    reader = store.reader([(result.manifest.name, result.manifest.digest)])
"""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from blockstore import manifest_builder
from blockstore.base_view import BaseView
from blockstore.claims import Claims
from blockstore.coalesce import DEEPEST, Flattening
from blockstore.condemned_alarm import CondemnedAlarm
from blockstore.damage_met import DamageMet
from blockstore.data_dir import DataDir
from blockstore.delta_store import DeltaStore
from blockstore.disk import Disk
from blockstore.errors import BlockstoreError, Damaged, Missing
from blockstore.features import CONTENT_DEFINED
from blockstore.figures import PoolFigures, StoreFigures
from blockstore.generations import Generations
from blockstore.index.lmdb_env import MAP_SIZE
from blockstore.index.lock_owner import Process, processes, write_lock_holders
from blockstore.index.opening import open_index
from blockstore.index.writer import IndexWriter
from blockstore.journal import Journal, path_of
from blockstore.leases.flock import FlockLeases
from blockstore.manifest import open_chain
from blockstore.manifest_builder import BuiltManifest, ManifestBuilder
from blockstore.manifest_reader import ManifestReader
from blockstore.manifest_writer import Crossing, ManifestWriter
from blockstore.open_pack import FULL, OpenPack
from blockstore.packs.adoption import adopt_orphans
from blockstore.packs.local import LocalPacks
from blockstore.pipeline.crew import Crew
from blockstore.pipeline.slabs import BUDGET, SlabPool
from blockstore.pipeline.upload_share import SLAB, upload_share
from blockstore.receive import Door
from chunker.cutting import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from blockstore.block import Place
    from blockstore.damage_met import Met
    from blockstore.index.contract import BlockIndex
    from blockstore.manifest import ManifestFile
    from blockstore.pipeline.slabs import SlabShare
    from blockstore.pipeline.taps import Tap
    from chunker.cutting import Cutting

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What may be chosen when a store is opened; bytes and seconds."""

    slab: int = SLAB
    slab_budget: int = BUDGET
    generation_bytes: int = 64 * 1024 * 1024
    generation_seconds: float = 2.0
    pack_full: int = FULL
    index_map: int = MAP_SIZE
    threads: int | None = None


class BlockStore:
    """See the module; made by `open`."""

    def __init__(self, data: DataDir, options: StoreOptions) -> None:
        self._data = data
        self._options = options
        self._met = DamageMet()
        self.disk = data.disk
        self._index_writer = IndexWriter()
        self.index: BlockIndex = open_index(data, self._index_writer, options.index_map)
        self.packs = LocalPacks(data.folder("packs"), data.store, data.disk)
        self.crew = Crew(options.threads)
        # Two pools, so that clients who read slowly never keep others from uploading, nor the other way round.
        self.slabs = SlabPool(options.slab_budget - options.slab_budget // 3)
        self.pieces = SlabPool(options.slab_budget // 3)
        self._generations = Generations(
            leases=FlockLeases(data.folder("leases")),
            open_pack=OpenPack(self.packs, self.index, self._index_writer, self.process, full=options.pack_full),
            index=self.index,
            index_writer=self._index_writer,
            largest=options.generation_bytes,
            longest=options.generation_seconds,
        )
        self._claims = Claims(data.folder("index") / "claims")
        door = Door(self.index, self._generations, self._claims)
        self.crossing = Crossing(self.crew, self.crew.lane(), self._generations, door)
        self.deltas = DeltaStore(self, data.folder("journals"), data.folder("manifests"), data.store)

    @classmethod
    def open(
        cls, root: Path, options: StoreOptions | None = None, *, disk: Disk | None = None, purpose: str = "serve"
    ) -> BlockStore:
        """Open the data directory `root` (made if missing or empty) and adopt what dead writers left.

        DataRefused says why it must not be opened and what to do; Damaged names a damaged file.
        """
        data = DataDir.open(root, disk or Disk(), purpose=purpose)
        try:
            store = cls(data, options or StoreOptions())
        except BaseException:
            data.close()
            raise
        try:
            store.adopt_orphans()
        except BlockstoreError as error:
            log.warning("what dead writers left is not adopted until the next start: %s", error)
        return store

    @property
    def id(self) -> str:
        """The store's id, 32 hex digits."""
        return self._data.store.hex()

    @property
    def process(self) -> str:
        """The name of this process's lock: who an upload belongs to."""
        return self._data.process.name

    def is_alive(self, process: str) -> bool:
        """Whether the process with this lock still runs."""
        return self._data.is_alive(process)

    def adopt_orphans(self) -> int:
        """Seal the packs that dead writers left open; gives their number."""
        return self._index_writer.run(
            lambda: adopt_orphans(self.index, self.packs, self.disk, self._data.is_alive),
        ).count

    def slab_size(self, cutting: Cutting) -> int:
        """How long an upload's slabs are, in bytes, when there is room: at least one block."""
        return max(self._options.slab, cutting.longest)

    def admit_upload(self, cutting: Cutting, *, spare: int = 0) -> SlabShare | None:
        """A share for an upload, or None when there is no room now; slabs hold the longest block and `spare` bytes."""
        return upload_share(self.slabs, self._options.slab, cutting.longest + spare)

    def writer(
        self,
        pin: str,
        share: SlabShare,
        *,
        cutting: Cutting = USUAL,
        base: Sequence[tuple[str, bytes]] = (),
        taps: Sequence[Tap] = (),
    ) -> ManifestWriter:
        """Begin an upload under a pin (32 hex digits; its row is the catalog's). `base` is a chain for an increment.

        A base that is cut otherwise can't be inherited from, nor can one be by content, nor one that can't be read:
        the manifest is then whole.
        """
        if not cutting.is_fixed:
            self._data.announce(CONTENT_DEFINED)
        journal = Journal(self._data.folder("journals"), self._data.store, pin, self.disk)
        view = self._base(base, cutting)
        folder = self._data.folder("manifests")
        try:
            builder = ManifestBuilder(folder, self._data.store, cutting, view.chain[0] if view else None, self.disk)
        except BaseException:
            if view is not None:
                view.close()
            raise
        deep = view is not None and view.chain[0].header.depth >= DEEPEST
        return ManifestWriter(
            self.crossing,
            share,
            cutting.cutter(),
            builder,
            journal,
            base=view,
            taps=taps,
            flatten=self.flattener(view.chain) if deep and view else None,
        )

    def reader(self, chain: Sequence[tuple[str, bytes]]) -> ManifestReader:
        """The image whose manifests are `chain`: (file name, digest), newest first. Missing, Damaged."""
        look = CondemnedAlarm(self.index, self._met).look
        return ManifestReader(self.chain(chain), self.index, self.packs, self._mark_bad, look)

    def flattening(self, chain: Sequence[tuple[str, bytes]]) -> Flattening:
        """Begin the flat manifest of a chain of fixed-size blocks, given as for `reader`. Missing, Damaged."""
        opened = self.chain(chain)
        try:
            return Flattening(opened, self._data.folder("manifests"), self.disk, self.index.get_many)
        except BaseException:
            for manifest in opened:
                manifest.close()
            raise

    def sync(self, work: Callable[[], T]) -> Future[T]:
        """Run what mostly waits for a disk on the threads that are kept for it."""
        return self._generations.run_sync(work)

    def discard(self, manifest: str) -> None:
        """Remove a manifest's file, which nothing names and nothing ever will."""
        manifest_builder.remove(manifest_builder.path_of(self._data.folder("manifests"), manifest), self.disk)

    def forget_journal(self, pin: str) -> None:
        """Remove a journal whose pin is gone; what can't be removed now is garbage."""
        self.deltas.forget(pin)
        with contextlib.suppress(BlockstoreError):
            self.disk.unlink(path_of(self._data.folder("journals"), pin))

    def let_go(self) -> None:
        """Keep no memory for later transfers: nobody is expected soon. Those that run are not disturbed."""
        self.slabs.let_go()
        self.pieces.let_go()

    def figures(self) -> StoreFigures:
        """How the store is doing now; the rounds that it tells of it does not tell again."""
        uploads, downloads = PoolFigures.of(self.slabs), PoolFigures.of(self.pieces)
        waiting, rounds = self._index_writer.waiting(), self._generations.rounds.drained()
        return StoreFigures(uploads, downloads, waiting, rounds, self._met.so_far())

    def damage_met(self) -> Met:
        """What was damaged and met by readers of this process so far."""
        return self._met.so_far()

    def index_wait(self) -> float:
        """Seconds that the index's present change has taken or waited for the lock; 0 without one."""
        return self._index_writer.waiting()

    def index_holders(self) -> list[Process]:
        """Who holds the index's write lock, or who could: see `index/lock_owner.py`."""
        return write_lock_holders(self._data.folder("index") / "lock.mdb", processes(self._data.folder("processes")))

    def close(self) -> None:
        """Make durable and seal what is open, then let go of everything."""
        self._generations.stop()
        self.crew.close()
        self._generations.close()
        self._index_writer.close()
        self.index.close()
        self._claims.close()
        self._data.close()

    def _mark_bad(self, digest: bytes, place: Place) -> None:
        """Take a block that was found damaged out of dedup, so that the next upload of its bytes heals it."""

        def mark() -> None:
            try:
                if not self.index.bad_among([digest]) and self.index.mark_bad(digest, place):
                    self._met.block()
                    log.error("block %s in pack %d at %d is damaged: not used any more", digest.hex(), *place[:2])
            except BlockstoreError as error:
                log.warning("block %s is damaged and could not be marked so: %s", digest.hex(), error)

        self._index_writer.later(mark)

    def chain(self, chain: Sequence[tuple[str, bytes]]) -> list[ManifestFile]:
        """The manifests of a chain, open. Missing, Damaged."""
        files = [(manifest_builder.path_of(self._data.folder("manifests"), name), digest) for name, digest in chain]
        return open_chain(files, self._met.manifest)

    def _base(self, chain: Sequence[tuple[str, bytes]], cutting: Cutting) -> BaseView | None:
        if not chain or not cutting.is_fixed:
            return None
        try:
            opened = self.chain(chain)
        except (Damaged, Missing) as error:
            log.warning("nothing is inherited from manifest %s: %s", chain[0][0], error)
            return None
        if opened[0].header.cutting == cutting:
            return BaseView(opened)
        for manifest in opened:
            manifest.close()
        return None

    def flattener(self, base: Sequence[ManifestFile]) -> Callable[[BuiltManifest], BuiltManifest]:
        """What makes a manifest over `base` whole, and removes it."""
        below = [(manifest.path.stem, manifest.digest) for manifest in base]

        def flatten(built: BuiltManifest) -> BuiltManifest:
            try:
                return self.flattening([(built.name, built.digest), *below]).run()
            finally:
                self.discard(built.name)

        return flatten
