"""What the blocks of a file are called, kept after it was sent whole, as a push of changes keeps them of its scan.

They are the image's, whose hash was compared with the file's by then: its manifest tells them.
"""

from __future__ import annotations

import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blockstore.clock import now_us
from blockstore.manifest_format import LEAF_BLOCKS
from httpapi.client.block_names import NamesFile, fetch_names
from httpapi.client.delta_api import DeltaApi
from httpapi.client.errors import ClientError

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.block_file import Readable, Stamp
    from httpapi.client.names_cache import NamesCache
    from httpapi.wire.images import ImageRecord


@dataclass(frozen=True, slots=True)
class Scan:
    """When a file began to be read (microseconds since 1970), and what it was then."""

    stamp: Stamp
    began_us: int


def begin_scan(file: Readable) -> Scan | None:
    """Before the file is read; None for one of which nothing tells whether it is as it was."""
    began_us = now_us()
    file.settle()
    stamp = file.stamp()
    return None if stamp is None else Scan(stamp, began_us)


async def keep_names(api: ImagesApi, file: Readable, scan: Scan, image: ImageRecord, cache: NamesCache) -> None:
    """Of an image that was made of all the file's bytes; nothing is kept where the file has changed since."""
    with suppress(ClientError):
        found = await fetch_names(DeltaApi(api), image.id)
        if found is None:
            return
        with closing(found), tempfile.TemporaryDirectory(prefix="drystone-") as directory:
            if not found.header.is_fixed or file.stamp() != scan.stamp:
                return
            with closing(NamesFile(Path(directory) / "names")) as names:
                for first in range(0, found.header.blocks, LEAF_BLOCKS):
                    names.write(first, found.names(first, min(LEAF_BLOCKS, found.header.blocks - first)))
                manifest, block_size = found.digest.hex(), found.header.block_size
                cache.keep(scan.stamp, block_size, names.path, manifest, image.id, began_us=scan.began_us)
