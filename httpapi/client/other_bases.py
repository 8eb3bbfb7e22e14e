"""Further images that a push may take blocks from, wherever these lie in them: named, not sent.

Of each block 12 bytes stay in memory: the beginning of its name, sorted, and its number. The whole name is compared in
the image's manifest.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.sent_blocks import NumberRange, SentHeld
from httpapi.client.block_names import fetch_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from httpapi.client.block_names import ImageNames, Names
    from httpapi.client.delta_api import DeltaApi
    from httpapi.client.report import Report
    from httpapi.client.retrying import Retrying
    from httpapi.wire.images import ImageRecord


class OtherBases:
    """Images of blocks of one size, by id; safe on several threads."""

    def __init__(self, images: Sequence[tuple[str, ImageNames]]) -> None:
        self._images = [(image_id, names, *_sorted(names)) for image_id, names in images]

    def find(self, first: int, names: Names, which: NDArray[np.bool_]) -> list[SentHeld]:
        """Where those of a window's whole data blocks that are marked in `which` are to be had; runs are joined."""
        found: list[SentHeld] = []
        for at in np.flatnonzero(which).tolist():
            here = self._find(names[at])
            if here is None:
                continue
            image, number = here
            last = found[-1] if found else None
            if (
                last is not None
                and last.image == image
                and last.numbers.stop == first + at
                and last.first + last.numbers.count == number
            ):
                found[-1] = SentHeld(NumberRange(last.numbers.first, last.numbers.count + 1), image, last.first)
            else:
                found.append(SentHeld(NumberRange(first + at, 1), image, number))
        return found

    def close(self) -> None:
        """Closes the manifests."""
        for _, names, _, _ in self._images:
            names.close()

    def _find(self, name: NDArray[np.uint8]) -> tuple[str, int] | None:
        wanted = name[:8].view("<u8")[0]
        for image_id, names, beginnings, numbers in self._images:
            at = int(np.searchsorted(beginnings, wanted))
            while at < len(beginnings) and beginnings[at] == wanted:
                number = int(numbers[at])
                if (names.names(number, 1)[0] == name).all():
                    return image_id, number
                at += 1
        return None


def _sorted(names: ImageNames) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """The beginnings of the names of all whole data blocks, ascending, and the blocks' numbers."""
    whole = names.size // names.header.block_size
    beginnings, numbers = [], []
    for first in range(0, whole, LEAF_BLOCKS):
        rows = names.names(first, min(LEAF_BLOCKS, whole - first))
        held = np.flatnonzero(rows.any(axis=1))
        beginnings.append(np.ascontiguousarray(rows[held, :8]).view("<u8").reshape(-1))
        numbers.append((held + first).astype(np.uint32))
    if not beginnings:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint32)
    all_beginnings, all_numbers = np.concatenate(beginnings), np.concatenate(numbers)
    order = np.argsort(all_beginnings, kind="stable")
    return all_beginnings[order], all_numbers[order]


async def fetch_others(
    delta: DeltaApi, images: Sequence[ImageRecord], base: ImageNames, retrying: Retrying, report: Report
) -> OtherBases | None:
    """Those of the images that are cut as the base is; of the others `report` is told that they are of no use."""
    found = []
    for image in images:
        names = await retrying(partial(fetch_names, delta, image.id))
        if names is None:
            continue
        if names.header.is_fixed and names.header.block_size == base.header.block_size:
            found.append((image.id, names))
        else:
            names.close()
            report.note(f"image {image.id} is cut otherwise than the parent: no block is taken from it")
    return OtherBases(found) if found else None
