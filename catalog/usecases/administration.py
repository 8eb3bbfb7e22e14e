"""Looking after the data: what the catalog has to say to statistics, verification, collection and a new index.

The block store does the work, from roots that the catalog names in one snapshot; here images get back their names.
Synchronous, since each runs in a process of its own: `records` and `store` are open for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from blockstore import clock, garbage, harm, listing, verify
from blockstore import stats as block_stats
from blockstore.collection import files
from blockstore.collection.alone import only_collection
from blockstore.coverage import lost_blocks
from blockstore.errors import DataRefused, Missing
from blockstore.roots import ManifestRoot, PinRoot, Roots
from catalog.health import HarmedImage, Health, health_of, named
from catalog.model.deleted import KEEP_DELETED
from catalog.model.errors import CatalogFull
from catalog.model.manifest import ManifestState
from catalog.model.pin import UploadKind
from catalog.usecases import catalog_findings, coalescing, uploads
from catalog.usecases.expiry import as_if_expired, expire_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from blockstore.bare_store import BareStore
    from blockstore.findings import Verified
    from blockstore.garbage import Collected, Collecting
    from blockstore.progress import Progress
    from blockstore.stats import StoreStats
    from blockstore.verify import Wanted
    from catalog.inventory import HeldCopies, Records
    from catalog.model.pin import Pin
    from catalog.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class Stats:
    """Images by status, the bytes that they have together in our blocks (`logical`), and what the store needs for them.

    `copies` are what lies in other stores.

    Deleted ones that can be brought back count, too: the store has their blocks. `health` is what was last found out
    about damage, None if nobody has looked.
    """

    images: Mapping[str, int]
    logical: int
    store: StoreStats
    health: Health | None
    copies: Sequence[HeldCopies] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """What is wrong in the store and the catalog, and the images that it harms."""

    verified: Verified
    harmed: Sequence[HarmedImage]


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection did, and how many uploads of dead processes and deleted images were given up before it.

    `coalescing` images are given whole manifests, since their blocks are in order now.
    """

    collected: Collected
    given_up: int
    expired: int = 0
    coalescing: int = 0


def roots_of(uow: UnitOfWork, given_up: AbstractSet[str] = frozenset()) -> Roots:
    """What holds blocks, in this snapshot, but for the pins `given_up`.

    A dead process's pin is a root until a transaction has deleted it: it may have committed and ended between the
    beginning of this snapshot and a look at its lock.
    """
    manifests = uow.inventory.manifests()
    live = [each for each in manifests if each.state is ManifestState.LIVE]
    pins = [pin for pin in uow.inventory.pins() if pin.id not in given_up]
    acknowledged = uow.inventory.acknowledged()
    return Roots(
        live={each.id: ManifestRoot(each.id, each.digest, each.base, each.depth, each.size) for each in live},
        retired=frozenset(each.id for each in manifests if each.state is ManifestState.RETIRED),
        pins={pin.id: _pin_root(pin, acknowledged.get(pin.id, 0)) for pin in pins},
    )


def _pin_root(pin: Pin, acknowledged: int) -> PinRoot:
    # A stream whose journal could not be written on has failed: nothing comes after that.
    return PinRoot(acknowledged, _whose(pin), only_grows=pin.kind is not UploadKind.SESSION)


def _is_orphan(pin: Pin, is_alive: Callable[[str], bool]) -> bool:
    return pin.kind is UploadKind.STREAM and not is_alive(pin.process)


_NAMES: Final = {UploadKind.STREAM: "upload", UploadKind.SESSION: "delta upload", UploadKind.JOB: "import"}


def _whose(pin: Pin) -> str:
    return f"the {_NAMES[pin.kind]} {pin.upload_id} of image {pin.image_id}"


def stats(store: BareStore, records: Records, progress: Progress, *, garbage: bool) -> Stats:
    """Count everything; beside running servers too, and collections, that may take a manifest away meanwhile."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    try:
        counted = block_stats.stats(store, roots, progress, garbage=garbage)
    except Missing:
        before, (roots, images) = roots, records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
        if before.live.keys() <= roots.live.keys():
            raise
        counted = block_stats.stats(store, roots, progress, garbage=garbage)
    unique = {image.id: image for image in images}
    statuses = Counter(image.status for image in unique.values())
    sizes = {image.id: image.size or 0 for image in images if image.manifest is not None}
    copies = records.read(lambda uow: uow.inventory.copies())
    return Stats(dict(statuses), sum(sizes.values()), counted, health_of(store.root), copies)


def verify_all(store: BareStore, records: Records, wanted: Wanted, progress: Progress) -> Verification:
    """Verify store and catalog; what they say of each other, too."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    verified = verify.verify(store, roots, wanted, progress, lambda: records.read(roots_of))
    for finding in (
        *catalog_findings.of_images(images, roots, store.data.store.hex()),
        *records.read(catalog_findings.of_records),
    ):
        verified.add(finding)
    verified.notes += _leftovers(store, roots)
    harmed = images_harmed(store, records, verified.lost) if verified.harmed else []
    return Verification(verified, harmed)


def images_harmed(store: BareStore, records: Records, blocks: Iterable[bytes]) -> list[HarmedImage]:
    """The images that show one of these blocks, or whose manifest cannot be read; manifests are read, no pack is."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    tops = {image.manifest for image in images if image.manifest is not None}
    counts = harm.harmed_by(blocks, tops, roots, store.root)
    # Deleted or coalesced meanwhile, a manifest may be gone, and no image is harmed.
    still = {image.manifest for image in records.read(lambda uow: uow.inventory.images())} if counts else set()
    return named(images, {top: count for top, count in counts.items() if top in still})


def images_missing_blocks(store: BareStore, records: Records, progress: Progress) -> list[HarmedImage]:
    """The images that list blocks which the index does not know."""
    lost = lost_blocks(store, records.read(roots_of), progress)
    return images_harmed(store, records, lost.blocks) if lost.blocks or lost.unreadable else []


def collect(
    store: BareStore,
    records: Records,
    how: Collecting,
    progress: Progress,
    *,
    at: datetime,
    keep_deleted: float = KEEP_DELETED,
    empty_catalog: bool = False,
    purpose: str = "admin gc",
) -> Collection:
    """End what has expired and what dead processes began, then collect what nothing reaches; beside others or alone.

    Images that were deleted `keep_deleted` seconds ago or before cannot be brought back afterwards.

    DataRefused when another collection runs, or when the catalog knows no manifest but the store has some, unless
    `empty_catalog` says that it is right.
    """
    keep = timedelta(seconds=keep_deleted)
    ledger = CatalogLedger(records)
    if how.dry_run:
        # Whoever was dead before the snapshots that follow has committed before them, or never will.
        pins = records.read(lambda uow: uow.inventory.pins())
        orphans = frozenset(pin.id for pin in pins if _is_orphan(pin, store.data.is_alive))
        ledger = CatalogLedger(records, orphans, expired=(at, keep))
        _refuse_lost_catalog(store, ledger, empty_catalog=empty_catalog)
        expired = records.read(lambda uow: as_if_expired(uow, roots_of(uow), at, keep)[1])
        planned = garbage.collect(store, ledger, how, progress)
        return Collection(planned, 0, expired, len(planned.split))
    with only_collection(store.data, purpose):
        _refuse_lost_catalog(store, ledger, empty_catalog=empty_catalog)
        given_up = records.write(lambda uow: _give_up(uow, store.data.is_alive, at))
        expired = expire_all(records, at, keep)
        collected = garbage.collect(store, ledger, how, progress)
        joined = records.write(lambda uow: coalescing.join(uow, collected.split, at=at)) if collected.split else 0
        return Collection(collected, given_up, expired, joined)


@dataclass(frozen=True, slots=True)
class CatalogLedger:
    """The catalog, as a collection asks it.

    As if these pins were given up, and images `expired`: now, and how long deleted ones are kept.
    """

    records: Records
    given_up: AbstractSet[str] = frozenset()
    expired: tuple[datetime, timedelta] | None = None

    def roots(self) -> Roots:
        """See the contract."""

        def look(uow: UnitOfWork) -> Roots:
            roots = roots_of(uow, self.given_up)
            return roots if self.expired is None else as_if_expired(uow, roots, *self.expired)[0]

        return self.records.read(look)

    def certain_roots(self) -> Roots | None:
        """See the contract: something must be written for it."""
        try:
            self.records.write(lambda uow: uow.inventory.settle())
        except CatalogFull:
            return None
        return self.roots()

    def forget_retired(self, names: Sequence[str]) -> int:
        """See the contract."""
        return self.records.write(lambda uow: uow.inventory.remove_retired(names))

    def expect_order(self, name: str) -> None:
        """See the contract."""
        self.records.write(lambda uow: coalescing.expect(uow, {name}, at=clock.now()))


def _refuse_lost_catalog(store: BareStore, ledger: CatalogLedger, *, empty_catalog: bool) -> None:
    roots = ledger.roots()
    if roots.live or roots.retired or empty_catalog or ledger.records.read(_knows_data):
        return
    # An upload that is about to be the first one's manifest is locked, and no sign of a lost catalog.
    if any(files.unnamed_manifests(store, ledger.roots, ledger.roots)):
        raise DataRefused(
            f"the catalog in {store.root} knows no image's data, but there are manifests of some: if it was lost, "
            "restore it from a backup first; if it is right, say so with --empty-catalog. Nothing was removed"
        )


def _knows_data(uow: UnitOfWork) -> bool:
    """Whether images have bytes, which may all lie in other stores."""
    return any(image.status in catalog_findings.WITH_DATA for image in uow.inventory.images())


def _give_up(uow: UnitOfWork, is_alive: Callable[[str], bool], at: datetime) -> int:
    """Streams of dead processes and sessions whose time is over: their images are queued again, their pins go."""
    count = 0
    for image_id, stream in uow.images.streams():
        if not is_alive(stream.process):
            count += uploads.abandon(uow, image_id, stream.id, at=at)
    for pin in uow.inventory.pins():
        if _is_orphan(pin, is_alive):
            uploads.drop_pin(uow, pin.id, at=at)
    ended = {each.id: each.image_id for each in uow.deltas.expired(at)}
    for upload_id, image_id in (ended | {each.id: each.image_id for each in uow.staged.expired(at)}).items():
        count += uploads.abandon(uow, image_id, upload_id, at=at)
    return count


def _leftovers(store: BareStore, roots: Roots) -> Iterator[str]:
    """Files that nothing names are garbage, or an upload's that runs right now; nobody is harmed."""
    files = (*listing.manifests(store.root), *listing.seconds(store.root))
    manifests = [listed for listed in files if listed.name not in roots.live]
    journals = [listed for listed in listing.journals(store.root) if listed.name not in roots.pins]
    if manifests or journals:
        size = sum(listed.size for listed in (*manifests, *journals))
        count = len({listed.name for listed in manifests})
        yield (
            f"{count} manifests and {len(journals)} journals ({size} bytes) are no image's: running uploads "
            "have some, the rest goes with `drystone admin gc`"
        )
