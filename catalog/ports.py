"""What the use cases need from the world: blocks to keep bytes, a database to keep records.

Contracts, with what holds after a failure; `stores/blocks.py` and `sql/` fulfil them, the test kit has doubles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from catalog.model.manifest import StoredManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from blockstore.unnamed import Hold
    from catalog.block_ports import BlockReader, Flattened, Reader
    from catalog.deleted_ports import DeletedImages
    from catalog.delta_ports import DeltaBlocks, Deltas
    from catalog.inventory import Inventory
    from catalog.jobs.contract import JobQueue, Tasks
    from catalog.location_ports import LooseCopies, Places, StagedBytes
    from catalog.manifest_ports import Manifests, Pins
    from catalog.member_ports import Members
    from catalog.metadef_ports import Metadefs
    from catalog.model.image import Image, Status, Upload
    from catalog.model.query import ImagePage, ImageQuery, Scope
    from catalog.ownership_ports import Ownership
    from catalog.quota_ports import Quotas
    from catalog.store_ports import CopyReader
    from chunker.cutting import Cutting

__all__ = ["Blocks", "Database", "Images", "StoredManifest", "UnitOfWork", "Written"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written:
    """What a finished upload left in the block store: a durable manifest that nothing names yet.

    `base` names the manifest that this one really lies over, if any: not the one that was wished for. `size`,
    `new_bytes` (written to packs) in bytes; of the image's own bytes, `fresh_bytes` are those of new blocks and
    `hole_bytes` those of holes. `listed_bytes` are those of the data blocks that the manifest lists itself;
    No collection removes the manifest's file before `hold` goes: so this goes where it may still be committed.
    `changed_bytes` those that it did not inherit from its base, which are fewer if it was made whole at the end of a
    deep chain. `hashes` maps each algorithm that was asked for to the hex digest of the flat
    image.
    """

    manifest: str
    digest: bytes
    depth: int
    size: int
    hashes: Mapping[str, str]
    new_blocks: int
    new_bytes: int
    held_blocks: int
    hole_blocks: int
    base: str | None = None
    fresh_bytes: int = 0
    hole_bytes: int = 0
    listed_bytes: int = 0
    changed_bytes: int = 0
    hold: Hold | None = field(default=None, compare=False, repr=False)


class Source(Protocol):
    """Where an image's bytes come from: asked for them, it puts them where they are wanted."""

    async def read_into(self, room: memoryview) -> int:
        """Wait for the next bytes and put them at the beginning of `room` (never empty): gives how many, 0 at the end.

        `room` must not be kept, nor written to when this has ended: also not where it was cancelled, since it is
        another's memory then. What goes wrong with the sender is an error of the source's own.
        """
        ...


class Blocks(Protocol):
    """The block store, as the catalog sees it."""

    @property
    def store(self) -> str:
        """The store's id, in hex."""
        ...

    @property
    def process(self) -> str:
        """The name of this process's lock, recorded by its uploads."""
        ...

    def is_alive(self, process: str) -> bool:
        """Whether the process with this name still holds its lock."""
        ...

    async def write(
        self,
        pin: str,
        source: Source,
        *,
        expected: int | None,
        cutting: Cutting,
        base: Sequence[StoredManifest] = (),
        hashes: Sequence[str] = (),
    ) -> Written:
        """Take a stream in, its blocks journaled under `pin`, and give a durable manifest.

        `base` is a pinned chain, newest first, from which blocks that are the same at the same place are inherited;
        `Written.base` says whether it could be. One that is cut otherwise, damaged or missing makes the manifest whole.

        `hashes` are the algorithms of hashlib by which the whole is hashed on its way.
        Raises SizeMismatch when the source gives more or less than `expected` bytes; the block store's own errors and
        the source's pass through.
        After any failure nothing that was written is referenced.
        """
        ...

    async def open(self, manifests: Sequence[StoredManifest]) -> Reader:
        """Open a chain of manifests for reading, the newest first, each under the one before it."""
        ...

    async def checked(self, manifests: Sequence[StoredManifest], copy: CopyReader) -> CopyReader:
        """A copy of the image with this chain, read through a check: no byte that is not the image's comes out.

        It may be read where the blocks are damaged: their digests are enough. What is wrong is CopyWrong, before any
        of its block. What comes is closed with `copy`. Raises the block store's errors when the chain cannot be
        opened; `copy` is then what it was.
        """
        ...

    async def flatten(self, manifests: Sequence[StoredManifest], report: Callable[[int, int], None]) -> Flattened:
        """Write the whole manifest of a chain of two or more: the same image without a base, durable, not yet named.

        In small pieces on the threads that uploads and downloads share; after each, `report` is told how many blocks
        of how many are done. After a failure or a cancellation nothing of it is left. The block store's errors pass
        through.
        """
        ...

    def forget_manifest(self, name: str) -> None:
        """Nothing names this manifest and nothing ever will: its file may go."""
        ...

    async def open_blocks(self, manifests: Sequence[StoredManifest]) -> BlockReader:
        """The same chain, open for reading by blocks."""
        ...

    @property
    def deltas(self) -> DeltaBlocks:
        """The same store's side of delta uploads."""
        ...

    async def compute(self, step: Callable[[], T]) -> T:
        """Run a small piece of CPU work, milliseconds long, on the threads that uploads and downloads share."""
        ...

    def forget_journal(self, pin: str) -> None:
        """The pin is over, committed or given up: its journal may go. Unknown pins are no error."""
        ...


class Images(Protocol):
    """Images in one transaction."""

    def add(self, image: Image) -> None:
        """Keep a new image. Raises Conflict when its id is taken, or was ever taken."""
        ...

    def get(self, image_id: str) -> Image | None:
        """The image, or None."""
        ...

    def bare(self, image_ids: Collection[str], *, project: str) -> Mapping[str, Image]:
        """Those of these images that there are, by id, without properties, tags, locations: to judge rights by.

        As many as a page has, at most. Of their members, `project` alone is told.
        """
        ...

    def page(self, scope: Scope, query: ImageQuery, after: Image | None, *, places: bool = False) -> ImagePage:
        """The images in scope that fit the query, in its order, behind `after`; a fixed number of statements.

        With their locations if `places` says so; of their members, the scope's project alone is told.
        """
        ...

    def save(self, image: Image, *, expect: Status, upload: str | None = None) -> None:
        """Write the image back if it is still in the status `expect` (and of this upload); else Conflict."""
        ...

    def change(self, before: Image, after: Image) -> None:
        """Write what differs, locations apart; Conflict unless status, upload and time of change are as `before`."""
        ...

    def remove(self, image: Image) -> None:
        """Forget the image; its id stays taken."""
        ...

    def streams(self) -> Sequence[tuple[str, Upload]]:
        """Image id and upload of each stream that is recorded as being written, or staged."""
        ...


class UnitOfWork(Protocol):
    """All that one step may touch, in one transaction."""

    @property
    def images(self) -> Images:
        """Images."""
        ...

    @property
    def members(self) -> Members:
        """Projects that images are shared with."""
        ...

    @property
    def metadefs(self) -> Metadefs:
        """Metadata definitions."""
        ...

    @property
    def deleted(self) -> DeletedImages:
        """Deleted images."""
        ...

    @property
    def manifests(self) -> Manifests:
        """Manifests."""
        ...

    @property
    def pins(self) -> Pins:
        """Pins."""
        ...

    @property
    def staged(self) -> StagedBytes:
        """Staged bytes."""
        ...

    @property
    def loose(self) -> LooseCopies:
        """Copies in stores that no image has."""
        ...

    @property
    def places(self) -> Places:
        """Images' locations across the catalog."""
        ...

    @property
    def deltas(self) -> Deltas:
        """Delta uploads."""
        ...

    @property
    def quotas(self) -> Quotas:
        """What projects may have, and have."""
        ...

    @property
    def tasks(self) -> Tasks:
        """Tasks."""
        ...

    @property
    def jobs(self) -> JobQueue:
        """The queue of jobs."""
        ...

    @property
    def ownership(self) -> Ownership:
        """Whose things are, for the verb that gives them to another project."""
        ...

    @property
    def inventory(self) -> Inventory:
        """Everything at once, for the verbs that look after the data."""
        ...


class Database(Protocol):
    """Runs steps, each in a transaction of its own and on a thread of the database's.

    A step is a plain function: it can't await, so no transaction stays open across a stream. An exception rolls back
    and passes through. A caller that is cancelled stops waiting; a step that has begun runs to its end. Write steps
    of one process run one after another, in the order in which they were asked for.
    """

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step that only reads, on one snapshot."""
        ...

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step that may write; when this returns, its changes are durable."""
        ...
