"""Healing images from a file, an address or another image: what is wanted, where an image's bytes are, what came of it.

Two openings of the data, one after the other: the lost blocks are found as verification finds them, with the bare
store; then the store is opened as a server opens it, and the source goes through the one door.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore import harm
from blockstore.coverage import lost_blocks
from blockstore.errors import BlockstoreError, Damaged, DataRefused, Missing
from blockstore.manifest import ManifestFile
from blockstore.repair import Wanted
from blockstore.roots import path_of
from catalog.health import HarmedImage, named
from catalog.usecases.administration import roots_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from blockstore.bare_store import BareStore
    from blockstore.manifest_reader import ManifestReader
    from blockstore.progress import Progress
    from blockstore.roots import Roots
    from blockstore.store import BlockStore
    from catalog.inventory import HeldImage, Records

SMALLEST: Final = 64 << 10
"""Bytes that are given up together around a place that cannot be read."""
SHORTEST_PREFIX: Final = 6
MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Patients:
    """What is lost, and the images that cannot be read whole for it."""

    wanted: Wanted
    harmed: Sequence[HarmedImage]


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many lost blocks were found in the source, and how many were not; images now whole, and the others."""

    healed: int
    left: int
    whole: Sequence[HarmedImage]
    harmed: Sequence[HarmedImage]


def patients(store: BareStore, records: Records, progress: Progress) -> Patients:
    """Find out what is lost. Blocks that only deleted images had are nobody's."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    lost = lost_blocks(store, roots, progress).blocks
    counts = _harm(store, roots, images, lost)
    tops = [roots.live[name] for name in counts]
    cuttings = set()
    for top in tops:
        with (
            contextlib.suppress(Damaged, Missing, DataRefused),
            contextlib.closing(ManifestFile(path_of(store.root, top.name), top.digest)) as manifest,
        ):
            cuttings.add(manifest.header.cutting)
    wanted = Wanted(lost, frozenset(cuttings), frozenset(top.size for top in tops))
    return Patients(wanted, named(images, counts))


def outcome(store: BareStore, records: Records, before: Patients) -> Repaired:
    """What came of it: asked of the index, not of whoever repaired."""
    roots, images = records.read(lambda uow: (roots_of(uow), uow.inventory.images()))
    wanted = sorted(before.wanted.blocks)
    places = store.index.get_many(wanted)
    left = frozenset(name for name, place in zip(wanted, places, strict=True) if place is None)
    harmed = named(images, _harm(store, roots, images, left))
    still = {image.id for image in harmed}
    whole = [image for image in before.harmed if image.id not in still]
    return Repaired(len(wanted) - len(left), len(left), whole, harmed)


def _harm(store: BareStore, roots: Roots, images: Sequence[HeldImage], lost: frozenset[bytes]) -> Mapping[str, int]:
    tops = {image.manifest for image in images if image.manifest is not None}
    return harm.harmed_by(lost, tops, roots, store.root)


def source_image(records: Records, text: str) -> HeldImage:
    """The image with data that `text` means: an id, the beginning of one, or a name. DataRefused if none or several."""
    images = [image for image in records.read(lambda uow: uow.inventory.images()) if image.manifest is not None]
    ours = {image.id: image for image in images}
    if text.lower() in ours:
        return ours[text.lower()]
    found = [image for image in ours.values() if image.name == text]
    if not found and len(text) >= SHORTEST_PREFIX:
        found = [image for image in ours.values() if image.id.startswith(text.lower())]
    if not found:
        raise DataRefused(f"{text!r} is no file, no address and no image with data: name one of them with --from")
    if len(found) > 1:
        named = ", ".join(image.id for image in found[:MOST_NAMED])
        raise DataRefused(f"{text!r} may be one of several images ({named}): choose one by its id")
    return found[0]


def bytes_of(store: BlockStore, records: Records, image: HeldImage) -> Generator[memoryview, None, None]:
    """An image's bytes, piece by piece; zeros in the place of a piece of which something cannot be read.

    Nobody takes such zeros for anything: what they are cut into is compared with what is wanted.
    """
    manifest = image.manifest or ""
    chain = [(link.name, link.digest) for link in records.read(lambda uow: uow.manifests.chain(manifest))]
    with contextlib.closing(store.reader(chain)) as reader:
        for start, stop in reader.pieces(0, reader.size):
            yield from _read(reader, start, stop)


def _read(reader: ManifestReader, start: int, stop: int) -> Iterator[memoryview]:
    """A span; where something of it cannot be read, in halves, down to a block."""
    try:
        yield memoryview(reader.load(start, stop))
    except BlockstoreError:
        middle = start + max(1, (stop - start) // 2 // SMALLEST) * SMALLEST
        if middle >= stop:
            yield memoryview(bytes(stop - start))
            return
        yield from _read(reader, start, middle)
        yield from _read(reader, middle, stop)
