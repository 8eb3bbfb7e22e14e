"""An opened manifest file: read by `pread`, each leaf checked when it is used, no memory map."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import numpy as np

from blockstore import manifest_format, manifest_leaf
from blockstore.disk import disk_errors
from blockstore.errors import Damaged, GeometryBroken, Missing
from blockstore.manifest_format import DIRECTORY_ROW, HEADER_SIZE, NO_BASE, Header
from blockstore.places import PlacesFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIX = ".manifest"


class ManifestFile:
    """One manifest; safe to use from several threads. `digest` is the one that it was asked for and has."""

    def __init__(self, path: Path, digest: bytes) -> None:
        self.path = path
        self.digest = digest
        with disk_errors(str(path)):
            try:
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Missing(f"{path} is gone") from None
            try:
                self.header, self._directory = self._read_head()
                self._row = manifest_leaf.row_of(self.header)
            except BaseException:
                os.close(self._fd)
                raise
        self._places = PlacesFile(path)

    def leaf(self, key: int) -> NDArray[np.void] | None:
        """The leaf that covers blocks from key · 1,024, as an array of LEAF_ROW; None if it lists none of them."""
        at = self._listed(key)
        return None if at is None else self.leaf_at(at)

    def leaf_digest(self, key: int) -> bytes | None:
        """The digest of `leaf(key)`, which is not read; None if there is none."""
        at = self._listed(key)
        return None if at is None else bytes(self._directory[at]["digest"].tobytes())

    def places(self, key: int, count: int) -> NDArray[np.uint32]:
        """Where the `count` rows of `leaf(key)` were when they were written: a hint, see `places.py`."""
        at = self._listed(key)
        return self.places_at(-1 if at is None else at, count)

    def places_at(self, at: int, count: int) -> NDArray[np.uint32]:
        """The same for `leaf_at(at)`."""
        return self._places.leaf(at, count)

    def _listed(self, key: int) -> int | None:
        at = int(np.searchsorted(self._directory["key"], key))
        return at if at < len(self._directory) and self._directory[at]["key"] == key else None

    def leaf_at(self, at: int) -> NDArray[np.void]:
        """The leaf at a place of the directory (0 … header.leaves − 1): LEAF_ROW or CONTENT_ROW, by the image's kind.

        Damaged when its bytes or its blocks are not what they should be.
        """
        row, what = self._directory[at], str(self.path)
        with disk_errors(what):
            data = os.pread(self._fd, int(row["count"]) * self._row.itemsize, int(row["offset"]))
        if self.header.is_fixed:
            return manifest_leaf.decode_leaf(data, row, self.header, what)
        last = at + 1 == len(self._directory)
        end = self.header.size if last else int(self._directory[at + 1]["key"])
        return manifest_leaf.decode_content_leaf(data, row, end, self.header, what)

    def place_of(self, offset: int) -> int:
        """The place in the directory of the leaf with this byte; of content-defined images that have it."""
        return int(np.searchsorted(self._directory["key"], offset, side="right")) - 1

    def digests(self) -> Iterator[NDArray[np.uint8]]:
        """The digests of the data blocks that this manifest itself lists, leaf by leaf: shape (up to 1,024, 32).

        In the order of the image, a block twice if it is there twice; holes and what a base has are left out.
        """
        for at in range(len(self._directory)):
            names = self.leaf_at(at)["digest"]
            yield names[names.any(axis=1)] if self.header.holes else names

    def keys(self) -> list[int]:
        """The keys of all leaves, ascending: block numbers / 1,024, or the offsets of content-defined ones."""
        return [int(key) for key in self._directory["key"]]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
        self._places.close()

    def _read_head(self) -> tuple[Header, NDArray[np.void]]:
        what = str(self.path)
        head = os.pread(self._fd, HEADER_SIZE, 0)
        header = manifest_format.decode_header(head, what)
        size = header.leaves * DIRECTORY_ROW.itemsize
        end = os.fstat(self._fd).st_size
        if header.directory + size != end:
            raise Damaged(f"{what} has {end} bytes where its directory ends at {header.directory + size}")
        directory = os.pread(self._fd, size, header.directory)
        if manifest_format.manifest_digest(head, directory) != self.digest:
            raise Damaged(f"{what} is not the manifest that it should be: its digest differs")
        return header, manifest_format.decode_directory(directory, header, what)


def open_chain(files: Sequence[tuple[Path, bytes]]) -> list[ManifestFile]:
    """Open a chain, newest first, given as (path, digest); refuses one whose links or geometry don't fit."""
    if not files:
        raise Missing("the image has no manifest")
    chain: list[ManifestFile] = []
    try:
        for path, digest in files:
            chain.append(ManifestFile(path, digest))
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
