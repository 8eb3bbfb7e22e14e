"""The two copies of a manifest: whether each is right, and writing anew one that is not.

A copy is replaced by a rename, so whoever reads meanwhile finds the old file or the new one, and it does not matter who
else writes the same copy: each makes a file of its own, and all write the same bytes.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from blockstore.errors import BlockstoreError, Damaged, DataRefused, Missing, StoreUnavailable
from blockstore.manifest import ManifestFile, second_of
from blockstore.manifest_format import HEADER_SIZE
from blockstore.manifest_leaf import row_of
from blockstore.names import new_name
from blockstore.pack_contents import Spot
from blockstore.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.disk import Disk

UNBOUNDED: Final = Throttle(None)
HALF_MADE: Final = ".mending"
"""The ending of a copy in the making, whose name is hidden."""


def copies_of(path: Path) -> tuple[Path, Path]:
    """The files of the manifest at this path, the one that everybody knows first."""
    return path, second_of(path)


def check_copy(path: Path, digest: bytes, throttle: Throttle = UNBOUNDED) -> Iterator[Spot]:
    """What is wrong with one copy, every byte looked at; nothing if there is no such file."""
    try:
        manifest = ManifestFile(path, digest, spare=False)
    except Missing:
        return
    except (Damaged, DataRefused, StoreUnavailable) as error:
        yield Spot(0, path.stat().st_size if path.exists() else 0, str(error))
        return
    with contextlib.closing(manifest):
        yield from _check_leaves(manifest, throttle)


def _check_leaves(manifest: ManifestFile, throttle: Throttle) -> Iterator[Spot]:
    """Leaves follow one another from the header to the directory, so that no byte of the file is nobody's."""
    at, size = HEADER_SIZE, row_of(manifest.header).itemsize
    for number, (begins, count) in enumerate(manifest.leaf_places()):
        ends = begins + count * size
        if begins != at:
            yield Spot(min(at, begins), max(at, begins), "its leaves do not follow one another")
        at = ends
        throttle.take(count * size)
        try:
            manifest.leaf_at(number)
        except (Damaged, StoreUnavailable) as error:
            yield Spot(begins, ends, str(error))
    if at != manifest.header.directory:
        yield Spot(at, manifest.header.directory, "something lies between its leaves and its directory")


def mend(path: Path, digest: bytes, copy: Path, disk: Disk) -> None:
    """Write one copy of the manifest at `path` anew, from what is right in both; durable when this returns.

    Damaged or Missing if some of it cannot be read, or is not right, in either: then nothing is changed. StoreFull or
    StoreUnavailable if it cannot be written.
    """
    with contextlib.closing(ManifestFile(path, digest, lambda *_: None)) as manifest:
        # Under one name, who comes second would take the file from under the first one, who then renames a torn one.
        half = copy.with_name(f".{copy.name}-{new_name().hex()}{HALF_MADE}")
        fd = disk.create(half)
        try:
            for at, data in manifest.pieces():
                disk.write(fd, [data], at, str(half))
            disk.sync(fd, str(half))
        except BaseException:
            with contextlib.suppress(BlockstoreError):
                disk.unlink(half)
            raise
        finally:
            os.close(fd)
        disk.rename(half, copy)
        disk.sync_directory(copy.parent)


def remove_half_made(manifests: Path, disk: Disk) -> None:
    """Remove what a mending that was killed has left in a data directory's `manifests`."""
    for half in manifests.glob(f"*/.*{HALF_MADE}"):
        disk.unlink(half)
