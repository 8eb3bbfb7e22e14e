"""Which bytes may have changed, as QEMU's and libnbd's tools tell it: then only those are read.

- `qemu-img map --output=json` of an overlay: what its top layer holds (`depth` 0) may have changed.
- `nbdinfo --map=qemu:dirty-bitmap:NAME --json`: what is not `clean`; of other maps, what is not in a backing file.

Offsets are those of the bytes that are pushed. Such a list tells of the whole disk: one that ends before it does is
refused. What a list does not name has not changed; whoever gives one vouches for that. Extents need not lie on blocks:
a block with one changed byte is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from httpapi.client.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from httpapi.client.block_scan import Geometry

_ZERO: Final = 2  # of base:allocation, see the NBD protocol
_FORM: Final = "`qemu-img map --output=json` or `nbdinfo --map=qemu:dirty-bitmap:NAME --json` prints one"


@dataclass(frozen=True, slots=True)
class ChangedExtents:
    """(offset, length) in bytes, in any order; `end` is where the list ends, None if it names only what has changed.

    `clean_end`, where it is told: behind the last byte that is data and has not changed. What lies behind it, and is
    not among the extents, are zeros now, whatever they were: see `cut_disks.py`.
    """

    extents: Sequence[tuple[int, int]]
    end: int | None = None
    clean_end: int | None = None

    def check(self, size: int, name: str) -> None:
        """SourceRefused for a list of something else than a file of `size` bytes that is called `name`."""
        if self.end is not None and self.end < size:
            raise SourceRefused(
                f"the list of changed extents ends at byte {self.end}, and {name} has {size} bytes: "
                "it is of something else, or was cut off; make it anew"
            )

    def blocks(self, cut: Geometry) -> NDArray[np.bool_]:
        """For each block whether one of its bytes may have changed."""
        found = np.zeros(cut.blocks, dtype=np.bool_)
        for offset, length in self.extents:
            found[offset // cut.block_size : -(-(offset + length) // cut.block_size)] = True
        return found


def parse_data(text: bytes, name: str) -> list[tuple[int, int]]:
    """(offset, length) of what an allocation map of nbdinfo's has as no zeros; SourceRefused as `parse_extents`."""
    found = []
    for entry in _list(text, name):
        match entry:
            case {"offset": int(offset), "length": int(length), "type": int(kind)} if offset >= 0 and length > 0:
                if not kind & _ZERO:
                    found.append((offset, length))
            case _:
                raise SourceRefused(f"{name} has an extent that is none, {str(entry)[:80]}: {_FORM}")
    return found


def _list(text: bytes, name: str) -> list[object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, list):
        raise SourceRefused(f"{name} is no list of extents in JSON: {_FORM}")
    return document


def parse_extents(text: bytes, name: str) -> ChangedExtents:
    """Reads a list; SourceRefused, which calls it `name`, for anything else."""
    document = _list(text, name)
    if not document:
        raise SourceRefused(f"{name} is an empty list, which says nothing of any byte: {_FORM}")
    found, end = [], 0
    for entry in document:
        extent = _read(entry)
        if extent is None:
            raise SourceRefused(f"{name} has an extent that is none, {str(entry)[:80]}: {_FORM}")
        end = max(end, extent[0] + extent[1])
        if extent[2] and extent[1]:
            found.append(extent[:2])
    return ChangedExtents(found, end)


def _read(entry: object) -> tuple[int, int, bool] | None:
    """(offset, length, whether it may have changed)."""
    match entry:
        case {"start": int(offset), "length": int(length), "depth": int(depth)}:
            changed = depth == 0
        case {"offset": int(offset), "length": int(length), "type": int(), **rest}:
            changed = _may_differ(str(rest.get("description", "")))
        case _:
            return None
    return (offset, length, changed) if offset >= 0 and length >= 0 else None


def _may_differ(told: str) -> bool:
    """By what nbdinfo calls it; of what it has no word for, all but the bitmap's 0 may have changed."""
    return told not in {"clean", "unallocated"} and not told.startswith("backing")
