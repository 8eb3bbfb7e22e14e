"""What the use cases need of images that are open for reading: their bytes; their blocks, by number and compared.

Contracts beside those of `ports.py`; `stores/stored_reader.py` and `stores/block_reader.py` fulfil them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from blockstore.diff import Extent
    from blockstore.sent_blocks import NumberRange, SentHoles
    from blockstore.stored_span import StoredSpan
    from blockstore.unnamed import Hold
    from catalog.model.manifest import Manifest

    Entries: TypeAlias = Sequence[tuple[int, memoryview] | SentHoles]


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """An image's flat manifest: what it is called and how long it is; sizes in bytes.

    `block_size` of a content-defined image is the average that was asked for.
    """

    digest: bytes
    bytes: int
    size: int
    is_fixed: bool
    block_size: int
    blocks: int
    data_blocks: int


@dataclass(frozen=True, slots=True)
class Flattened:
    """A whole manifest in the place of a chain, durable, that nothing names yet; `hold` as `Written` has it."""

    manifest: Manifest
    hold: Hold | None = field(default=None, compare=False, repr=False)


class Reader(Protocol):
    """An image's bytes, open for reading; `size` in bytes."""

    @property
    def size(self) -> int:
        """The image's length."""
        ...

    def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """The bytes from `start` up to `stop`, in pieces of about 1 MiB; every piece was verified before.

        A piece is valid until the next one is asked for, or the iterator is closed: its memory is then used again.
        """
        ...

    def read_stored(self) -> AsyncIterator[StoredSpan]:
        """The whole image as zstd frames (RFC 8878), as they are stored: decompressed one after another, its bytes.

        Spans are valid as pieces of `read` are, and are closed then.
        """
        ...

    def close(self) -> None:
        """Give back what reading holds; may be called again."""
        ...


class BlockReader(Protocol):
    """An image's blocks, open for reading. What is in memory for it comes from the budget of downloads."""

    @property
    def size(self) -> int:
        """The image's length in bytes."""
        ...

    @property
    def blocks(self) -> int:
        """How many blocks the image has."""
        ...

    @property
    def is_fixed(self) -> bool:
        """Whether its blocks have one size."""
        ...

    @property
    def block_size(self) -> int:
        """In bytes; the average that was asked for, if they have not."""
        ...

    async def summary(self) -> ManifestSummary:
        """What the flat manifest comes to; looks through all leaves, once."""
        ...

    def manifest(self) -> AsyncGenerator[bytes, None]:
        """The flat manifest's bytes, after `summary`; each leaf is checked before it is given."""
        ...

    def entries(self, wanted: Sequence[NumberRange]) -> AsyncGenerator[Entries, None]:
        """These blocks in their order: (number, entry as stored, its sums checked), or runs of holes."""
        ...

    async def changes(self, since: BlockReader, *, start: int, most: int) -> tuple[Sequence[Extent], int | None]:
        """Where this image may differ from another one, from byte `start` on: at most so many extents, ascending.

        Fewer, even none, when much had to be read for them: a call's work is bounded. Gives the byte at which to go on,
        too, or None at the end. `since` must be one of the same store.
        """
        ...

    def close(self) -> None:
        """Give back what reading holds; may be called again."""
        ...
