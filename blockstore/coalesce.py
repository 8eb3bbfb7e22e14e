"""Making one whole manifest of a chain: the same image, without its ancestors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore.manifest_builder import BuiltManifest, ManifestBuilder
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.manifest import ManifestFile

DEEPEST: Final = 16
"""A deeper chain is flattened when it is committed."""


def flatten(chain: Sequence[ManifestFile], directory: Path, disk: Disk) -> BuiltManifest:
    """Write the flat manifest of `chain` (newest first, of fixed-size blocks), durable; one window in memory at a time.

    A content-defined image never has a base: it is flat already.
    """
    header = chain[0].header
    resolver = Resolver(chain)
    builder = ManifestBuilder(directory, header.store, header.cutting, None, disk)
    try:
        for first in range(0, header.blocks, LEAF_BLOCKS):
            count = min(LEAF_BLOCKS, header.blocks - first)
            builder.add(first, resolver.digests(first, count), frozenset())
        return builder.finish(header.size)
    except BaseException:
        builder.abandon()
        raise
