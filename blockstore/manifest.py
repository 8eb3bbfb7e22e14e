"""An opened manifest: read by `pread`, each leaf checked when it is used, no memory map.

The store keeps each manifest twice, in two files with the same bytes. What is wrong or missing in the first is read
from the second, part by part, so that a reader fails only where neither is right. `manifest_copies.py` mends them.
"""

from __future__ import annotations

import itertools
import logging
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import manifest_format, manifest_leaf
from blockstore.disk import disk_errors, reading
from blockstore.errors import BlockstoreError, Damaged, GeometryBroken, Missing, StoreUnavailable
from blockstore.manifest_format import DIRECTORY_ROW, HEADER_SIZE, NO_BASE, Header
from blockstore.places import PlacesFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Told = Callable[[Path, str], None]
    """Called with the file of a copy that is not right, and why."""

SUFFIX = ".manifest"
SECOND: Final = ".second"
_AT_ONCE: Final = 32
"""Leaves that are read together by who wants them all: a megabyte."""
log = logging.getLogger(__name__)


def second_of(path: Path) -> Path:
    """Where the second copy of the manifest at this path lies."""
    return path.with_suffix(SECOND)


def warn(path: Path, why: str) -> None:
    """What is done about a copy that is not right when nobody else wants to know."""
    log.warning("manifest %s: %s; it is read from its other copy, `drystone admin scrub` mends it", path.stem, why)


class ManifestFile:
    """One manifest; safe to use from several threads. `digest` is the one that it was asked for and has.

    `told` hears of the first thing that had to be read from the second copy; without `spare` nothing ever is.
    """

    def __init__(self, path: Path, digest: bytes, told: Told = warn, *, spare: bool = True) -> None:
        self.path = path
        self.digest = digest
        self._told: Told | None = told
        self._copies = (path, second_of(path)) if spare else (path,)
        self._fd, self._head, self.header, self._directory = self._opened()
        self._row = manifest_leaf.row_of(self.header)
        self._places = PlacesFile(path, self.header.leaves)

    def leaf(self, key: int) -> NDArray[np.void] | None:
        """The leaf that covers blocks from key · 1,024, as an array of LEAF_ROW; None if it lists none of them."""
        at = self._listed(key)
        return None if at is None else self.leaf_at(at)

    def leaf_digest(self, key: int) -> bytes | None:
        """The digest of `leaf(key)`, which is not read; None if there is none."""
        at = self._listed(key)
        return None if at is None else bytes(self._directory[at]["digest"].tobytes())

    def places(self, key: int) -> NDArray[np.uint32]:
        """Where the rows of `leaf(key)`, which it has, were when they were written: a hint, see `places.py`."""
        at = self._listed(key)
        assert at is not None, "no such leaf"
        return self.places_at(at)

    def places_at(self, at: int) -> NDArray[np.uint32]:
        """The same for `leaf_at(at)`."""
        return self._places.leaf(at, self.count_at(at))

    def _listed(self, key: int) -> int | None:
        at = int(np.searchsorted(self._directory["key"], key))
        return at if at < len(self._directory) and self._directory[at]["key"] == key else None

    def leaf_at(self, at: int) -> NDArray[np.void]:
        """The leaf at a place of the directory (0 … header.leaves − 1): LEAF_ROW or CONTENT_ROW, by the image's kind.

        Damaged when its bytes or its blocks are not what they should be.
        """
        try:
            return self._leaf(self._fd, at)
        except (Damaged, StoreUnavailable) as trouble:
            # Both by name: the one that is open is the second if the first one's head is wrong.
            for path in self._copies if len(self._copies) > 1 else ():
                try:
                    leaf = self._leaf_of(path, at)
                except BlockstoreError:
                    continue
                self._tell(trouble)
                return leaf
            raise

    def _leaf_of(self, path: Path, at: int) -> NDArray[np.void]:
        fd = _open(path)
        try:
            return self._leaf(fd, at)
        finally:
            os.close(fd)

    def _leaf(self, fd: int, at: int) -> NDArray[np.void]:
        row, what = self._directory[at], str(self.path)
        with reading(what):
            data = os.pread(fd, int(row["count"]) * self._row.itemsize, int(row["offset"]))
        if self.header.is_fixed:
            return manifest_leaf.decode_leaf(data, row, self.header, what)
        last = at + 1 == len(self._directory)
        end = self.header.size if last else int(self._directory[at + 1]["key"])
        return manifest_leaf.decode_content_leaf(data, row, end, self.header, what)

    def count_at(self, at: int) -> int:
        """How many rows `leaf_at(at)` has."""
        return int(self._directory[at]["count"])

    def place_of(self, offset: int) -> int:
        """The place in the directory of the leaf with this byte; of content-defined images that have it."""
        return int(np.searchsorted(self._directory["key"], offset, side="right")) - 1

    def digests(self) -> Iterator[NDArray[np.uint8]]:
        """The digests of the data blocks that this manifest itself lists, some leaves at a time: shape (n, 32).

        In the order of the image, a block twice if it is there twice; holes and what a base has are left out.
        """
        for first in range(0, len(self._directory), _AT_ONCE):
            rows = self._directory[first : first + _AT_ONCE]
            together = self._together(rows)
            leaves = (self.leaf_at(first + at) for at in range(len(rows))) if together is None else (together,)
            for leaf in leaves:
                names = leaf["digest"]
                yield names[names.any(axis=1)] if self.header.holes else names

    def _together(self, rows: NDArray[np.void]) -> NDArray[np.void] | None:
        """Leaves of a fixed-size image in one read, which halves what marking costs; None if that won't do."""
        lengths = rows["count"].astype(np.int64) * self._row.itemsize
        offsets = rows["offset"].astype(np.int64)
        if not self.header.is_fixed or (offsets[1:] != (offsets + lengths)[:-1]).any():
            return None
        try:
            data = os.pread(self._fd, int(lengths.sum()), int(offsets[0]))
        except OSError:
            return None
        return manifest_leaf.decode_leaves(data, rows, self.header)

    def keys(self) -> list[int]:
        """The keys of all leaves, ascending: block numbers / 1,024, or the offsets of content-defined ones."""
        return [int(key) for key in self._directory["key"]]

    def leaf_places(self) -> list[tuple[int, int]]:
        """Of all leaves, in order: the offset in the file, and how many rows."""
        return [(int(row["offset"]), int(row["count"])) for row in self._directory]

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Every byte of the file, as it should be: (offset, bytes), the header last. Damaged where no copy has it."""
        for at, row in enumerate(self._directory):
            yield int(row["offset"]), self.leaf_at(at).tobytes()
        yield self.header.directory, self._directory.tobytes()
        yield 0, self._head

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
        self._places.close()

    def _opened(self) -> tuple[int, bytes, Header, NDArray[np.void]]:
        """The first copy whose header and directory are right: its descriptor, and these."""
        trouble: BlockstoreError | None = None
        for path in self._copies:
            try:
                opened = _open_copy(path, self.digest)
            except (Damaged, Missing, StoreUnavailable) as error:
                # Of both, what is wrong with the first is told: it is the one that everybody knows.
                trouble = trouble or error
                continue
            if trouble is not None:
                self._tell(trouble)
            return opened
        assert trouble is not None
        raise trouble

    def _tell(self, trouble: BlockstoreError) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(self.path, str(trouble))


def _open(path: Path) -> int:
    with disk_errors(str(path)):
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Missing(f"{path} is gone") from None


def _open_copy(path: Path, digest: bytes) -> tuple[int, bytes, Header, NDArray[np.void]]:
    fd = _open(path)
    try:
        with reading(str(path)):
            return fd, *_read_head(fd, digest, str(path))
    except BaseException:
        os.close(fd)
        raise


def _read_head(fd: int, digest: bytes, what: str) -> tuple[bytes, Header, NDArray[np.void]]:
    head, end = os.pread(fd, HEADER_SIZE, 0), os.fstat(fd).st_size
    header = manifest_format.decode_header(head, what)
    size = header.leaves * DIRECTORY_ROW.itemsize
    if header.directory + size != end:
        raise Damaged(f"{what} has {end} bytes where its directory ends at {header.directory + size}")
    directory = os.pread(fd, size, header.directory)
    if manifest_format.manifest_digest(head, directory) != digest:
        raise Damaged(f"{what} is not the manifest that it should be: its digest differs")
    return head, header, manifest_format.decode_directory(directory, header, what)


def open_chain(files: Sequence[tuple[Path, bytes]], told: Told = warn) -> list[ManifestFile]:
    """Open a chain, newest first, given as (path, digest); refuses one whose links or geometry don't fit.

    `told` as for a ManifestFile.
    """
    if not files:
        raise Missing("the image has no manifest")
    chain: list[ManifestFile] = []
    try:
        for path, digest in files:
            chain.append(ManifestFile(path, digest, told))
        for here, base in itertools.pairwise(chain):
            _check_link(here, base)
        _check_bottom(chain[-1])
    except BaseException:
        for manifest in chain:
            manifest.close()
        raise
    return chain


def _check_bottom(oldest: ManifestFile) -> None:
    if oldest.header.base != NO_BASE:
        raise Damaged(f"{oldest.path} has a base that the catalog does not name")


def _check_link(here: ManifestFile, base: ManifestFile) -> None:
    mine, theirs = here.header, base.header
    if mine.base != base.digest:
        raise Damaged(f"{here.path} has another base than {base.path}")
    if (mine.kind, mine.block_size, mine.scheme) != (theirs.kind, theirs.block_size, theirs.scheme):
        raise GeometryBroken(f"{here.path} and its base {base.path} differ in kind, block size or digest scheme")
