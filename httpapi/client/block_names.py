"""What blocks are called, by number: of an image by its manifest, of a file as it was scanned.

Names are BLAKE3-256 as rows of 32 bytes, a hole's is 32 zeros. An image of blocks of one size has 65,536 names a 4 GiB,
so they lie in files and are looked at in windows; memory is bounded whatever the image's size.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import manifest_format
from blockstore.digest import digest
from blockstore.errors import BlockstoreError
from blockstore.manifest import ManifestFile
from blockstore.manifest_format import DIRECTORY_ROW, HEADER_SIZE, LEAF_BLOCKS, NO_BASE
from blockstore.manifest_leaf import LEAF_ROW
from blockstore.resolve import Resolver
from httpapi.client.errors import Mismatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from numpy.typing import NDArray

    from blockstore.manifest_format import Header
    from blockstore.resolve import Window
    from httpapi.client.delta_api import DeltaApi

    Names: TypeAlias = NDArray[np.uint8]

SIZE: Final = 32


class ImageNames:
    """The blocks of an image by its flat manifest in a file; safe on several threads."""

    def __init__(self, path: Path, manifest_digest: bytes) -> None:
        """Mismatch for a file that is no whole manifest with this digest."""
        try:
            self._manifest = ManifestFile(path, manifest_digest)
        except BlockstoreError as failure:
            raise Mismatch(f"the manifest that arrived is not right ({failure}): do it again") from failure
        self.header: Header = self._manifest.header
        self.digest = manifest_digest
        self._resolver = Resolver([self._manifest])

    @property
    def size(self) -> int:
        """The image's, in bytes."""
        return self.header.size

    def names(self, first: int, count: int) -> Names:
        """Of the blocks from number `first` on; those beyond the image's end are holes. Only of blocks of one size."""
        found = np.zeros((count, SIZE), dtype=np.uint8)
        here = max(0, min(count, self.header.blocks - first))
        at = 0
        for part in self._resolver.numbered(first, here) if here else ():
            found[at : at + len(part.digests)] = part.digests
            at += len(part.digests)
        return found

    def kept(self, first: int, count: int, size: int) -> NDArray[np.bool_]:
        """Which of these blocks a new image of `size` bytes has from this one when it says nothing of them.

        All but those whose length differs: this image's odd tail, and the new one's. What lies beyond this image's end
        is a hole there.
        """
        block = self.header.block_size
        starts = np.arange(first, first + count, dtype=np.int64) * block
        mine = np.minimum(block, self.header.size - starts)
        theirs = np.minimum(block, size - starts)
        return np.asarray((mine <= 0) | (mine == theirs))

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        """The blocks with a byte from `start` up to `stop`, of any kind, up to 1,024 at a time."""
        return self._resolver.windows(start, stop)

    def numbered(self, first: int, count: int) -> Iterator[Window]:
        """`count` blocks from number `first` on, of any kind."""
        return self._resolver.numbered(first, count)

    def close(self) -> None:
        """Closes the file."""
        self._manifest.close()


async def fetch_names(delta: DeltaApi, image_id: str, path: Path | None = None) -> ImageNames | None:
    """The image's names, its manifest kept at `path` or nowhere; None from a server without delta sync."""
    with tempfile.TemporaryDirectory(prefix="drystone-") as directory:
        where = Path(directory) / "manifest" if path is None else path
        descriptor = os.open(where, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            name = await delta.manifest(image_id, descriptor)
        finally:
            os.close(descriptor)
        # The open file stays readable when its directory is gone.
        return None if name is None else ImageNames(where, name)


class NamesFile:
    """Names by number in a sparse file of our own, which grows as it is written; safe on several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def names(self, first: int, count: int) -> Names:
        """Rows that were never written are zeros."""
        data = os.pread(self.descriptor, count * SIZE, first * SIZE)
        found = np.zeros(count * SIZE, dtype=np.uint8)
        found[: len(data)] = np.frombuffer(data, dtype=np.uint8)
        return found.reshape(count, SIZE)

    def write(self, first: int, names: Names) -> None:
        """The names of the blocks from number `first` on."""
        if names.any() or os.fstat(self.descriptor).st_size > first * SIZE:
            os.pwrite(self.descriptor, names.tobytes(), first * SIZE)

    def clear(self) -> None:
        """Forget all of them."""
        os.ftruncate(self.descriptor, 0)

    def close(self) -> None:
        """Closes the file."""
        os.close(self.descriptor)


def flat_digest(like: Header, names: NamesFile, size: int) -> bytes:
    """The digest of the flat manifest of an image of `size` bytes with these blocks.

    `like` is a manifest's header of the same store: what the image of these bytes has there, byte for byte.
    """
    blocks = -(-size // like.block_size)
    rows: list[tuple[int, int, int, int, bytes]] = []
    end, entries = HEADER_SIZE, 0
    for key in range(-(-blocks // LEAF_BLOCKS)):
        found = names.names(key * LEAF_BLOCKS, min(LEAF_BLOCKS, blocks - key * LEAF_BLOCKS))
        held = np.flatnonzero(found.any(axis=1))
        if not len(held):
            continue
        leaf = np.zeros(len(held), dtype=LEAF_ROW)
        leaf["number"] = held + key * LEAF_BLOCKS
        leaf["digest"] = found[held]
        data = leaf.tobytes()
        rows.append((key, end, len(held), 0, digest(data)))
        end += len(data)
        entries += len(held)
    directory = np.zeros(len(rows), dtype=DIRECTORY_ROW)
    for at, (key, offset, count, reserved, name) in enumerate(rows):
        directory[at] = (key, offset, count, reserved, np.frombuffer(name, dtype=np.uint8))
    header = replace(like, size=size, base=NO_BASE, depth=0, entries=entries, holes=0, leaves=len(rows), directory=end)
    return manifest_format.manifest_digest(manifest_format.encode_header(header), directory.tobytes())
