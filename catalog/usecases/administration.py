"""Looking after the data: what the catalog has to say to statistics, verification, collection and a new index.

The block store does the work, from roots that the catalog names in one snapshot; here images get back their names.
Synchronous, since each runs in a process of its own: `records` and `store` are open for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore import garbage, listing, verify
from blockstore import stats as block_stats
from blockstore.coverage import missing_blocks
from blockstore.errors import DataRefused
from blockstore.findings import Finding
from blockstore.roots import ManifestRoot, PinRoot, Roots
from catalog.health import HarmedImage, Health, health_of
from catalog.model.manifest import ManifestState
from catalog.model.pin import UploadKind
from catalog.usecases import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from blockstore.bare_store import BareStore
    from blockstore.findings import Verified
    from blockstore.garbage import Collected, Collecting
    from blockstore.progress import Progress
    from blockstore.stats import StoreStats
    from blockstore.verify import Wanted
    from catalog.inventory import HeldImage, Records
    from catalog.model.pin import Pin
    from catalog.ports import UnitOfWork

_CATALOG = "catalog"
_WITH_DATA = frozenset({"active", "deactivated"})


@dataclass(frozen=True, slots=True)
class Stats:
    """Images by status, the bytes that they have together (`logical`), and what the store needs for them.

    `health` is what was last found out about damage, None if nobody has looked.
    """

    images: Mapping[str, int]
    logical: int
    store: StoreStats
    health: Health | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What is wrong in the store and the catalog, and the images that it harms."""

    verified: Verified
    harmed: Sequence[HarmedImage]


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection did, and how many uploads of dead processes were given up before it."""

    collected: Collected
    given_up: int


def roots_of(uow: UnitOfWork, *, streams: bool = True) -> Roots:
    """What holds blocks, in this snapshot; without `streams`, as if uploads that die with their process were over."""
    manifests = uow.inventory.manifests()
    live = [each for each in manifests if each.state is ManifestState.LIVE]
    pins = [pin for pin in uow.inventory.pins() if streams or pin.kind is not UploadKind.STREAM]
    acknowledged = uow.inventory.acknowledged()
    return Roots(
        live={each.id: ManifestRoot(each.id, each.digest, each.base, each.depth, each.size) for each in live},
        retired=frozenset(each.id for each in manifests if each.state is ManifestState.RETIRED),
        pins={pin.id: PinRoot(acknowledged.get(pin.id, 0), _whose(pin)) for pin in pins},
    )


def _whose(pin: Pin) -> str:
    kind = "delta upload" if pin.kind is UploadKind.SESSION else "upload"
    return f"the {kind} {pin.upload_id} of image {pin.image_id}"


def stats(store: BareStore, records: Records, progress: Progress, *, garbage: bool) -> Stats:
    """Count everything; beside running servers too."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    unique = {image.id: image for image in images}
    statuses = Counter(image.status for image in unique.values())
    sizes = {image.id: image.size or 0 for image in images if image.manifest is not None}
    counted = block_stats.stats(store, roots, progress, garbage=garbage)
    return Stats(dict(statuses), sum(sizes.values()), counted, health_of(store.root))


def verify_all(store: BareStore, records: Records, wanted: Wanted, progress: Progress) -> Verification:
    """Verify store and catalog; what they say of each other, too."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    verified = verify.verify(store, roots, wanted, progress, lambda: records.read(roots_of))
    for finding in _check_images(images, roots, store.data.store.hex()):
        verified.add(finding)
    verified.notes += _leftovers(store, roots)
    return Verification(verified, harmed_images(images, roots, verified.harmed))


def harmed_images(images: Sequence[HeldImage], roots: Roots, harmed: Mapping[str, int]) -> list[HarmedImage]:
    """The images whose chain has one of these manifests, with the blocks that this concerns."""
    found = []
    for image in images if harmed else ():
        touched = [root.name for root in roots.chain(image.manifest or "") if root.name in harmed]
        if touched:
            found.append(HarmedImage(image.id, image.name, image.status, sum(harmed[name] for name in touched)))
    return found


def images_missing_blocks(store: BareStore, records: Records, progress: Progress) -> list[HarmedImage]:
    """The images that list blocks which the index does not know."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    return harmed_images(images, roots, missing_blocks(store, roots, progress))


def collect(
    store: BareStore,
    records: Records,
    how: Collecting,
    progress: Progress,
    *,
    at: datetime,
    empty_catalog: bool = False,
) -> Collection:
    """Give up uploads of dead processes, then collect what nothing reaches. The store is open exclusively.

    DataRefused when the catalog knows no manifest but the store has some, unless `empty_catalog` says that it is right.
    """
    given_up = 0 if how.dry_run else records.write(lambda uow: _give_up_streams(uow, at))
    roots = records.read(lambda uow: roots_of(uow, streams=False))
    if not (roots.live or roots.retired or empty_catalog) and next(listing.manifests(store.root), None) is not None:
        raise DataRefused(
            f"the catalog in {store.root} knows no image's data, but there are manifests of some: if it was lost, "
            "restore it from a backup first; if it is right, say so with --empty-catalog. Nothing was removed"
        )
    collected = garbage.collect(
        store,
        roots,
        how,
        progress,
        lambda names: records.write(lambda uow: uow.inventory.remove_retired(names)),
    )
    return Collection(collected, given_up)


def _give_up_streams(uow: UnitOfWork, at: datetime) -> int:
    """No process but this one runs, so no stream does: their images are queued again, their pins go."""
    count = 0
    for image_id, left in uow.images.saving_streams():
        count += uploads.abandon(uow, image_id, left.id, at=at)
    for pin in uow.inventory.pins():
        if pin.kind is UploadKind.STREAM:
            uploads.drop_pin(uow, pin.id, at=at)
    return count


def _check_images(images: Sequence[HeldImage], roots: Roots, store: str) -> Iterator[Finding]:
    """What an image says of its data must be what its manifest's record says."""
    for image in images:
        what = f"image {image.id}"
        if image.manifest is None:
            continue
        root = roots.live.get(image.manifest)
        if root is None:
            state = "retired" if image.manifest in roots.retired else "not known"
            yield Finding(_CATALOG, 0, 0, f"{what} has the manifest {image.manifest}, which is {state}")
        elif image.status in _WITH_DATA and image.size != root.size:
            yield Finding(_CATALOG, 0, 0, f"{what} has {image.size} bytes, its manifest says {root.size}")
        if image.url != f"blocks://{store}/{image.manifest}":
            yield Finding(_CATALOG, 0, 0, f"{what} lies at {image.url}, which is not its manifest in this store")


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
            "have some, the rest goes with `drystone admin gc --offline`"
        )
