"""The rows of a manifest's leaves, in their two kinds, as pure functions; opens no file. FORMAT.md draws them.

A leaf of a fixed-size image covers 1,024 block numbers and lists the blocks that the manifest has there. A leaf of a
content-defined image lists 1,024 blocks (the last one fewer), one right after another, with offset and length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import digest
from blockstore.errors import Damaged
from blockstore.manifest_format import LEAF_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blockstore.manifest_format import Header

LEAF_ROW: Final = np.dtype([("number", "<u4"), ("digest", "u1", (32,))])
"""A row of a fixed-size image."""
CONTENT_ROW: Final = np.dtype([("offset", "<u8"), ("length", "<u4"), ("digest", "u1", (32,))])
"""A row of a content-defined image."""


def row_of(header: Header) -> np.dtype[np.void]:
    """How this manifest's rows look."""
    return LEAF_ROW if header.is_fixed else CONTENT_ROW


def encode_leaf(numbers: Sequence[int], digests: Sequence[bytes]) -> bytes:
    """A leaf of a fixed-size image."""
    rows = np.zeros(len(numbers), dtype=LEAF_ROW)
    rows["number"] = numbers
    rows["digest"] = _joined(digests)
    return rows.tobytes()


def encode_content_leaf(offsets: Sequence[int], lengths: Sequence[int], digests: Sequence[bytes]) -> bytes:
    """A leaf of a content-defined image; offsets and lengths in bytes."""
    rows = np.zeros(len(offsets), dtype=CONTENT_ROW)
    rows["offset"] = offsets
    rows["length"] = lengths
    rows["digest"] = _joined(digests)
    return rows.tobytes()


def decode_leaf(data: bytes, row: np.void, header: Header, what: str) -> NDArray[np.void]:
    """A leaf as an array of LEAF_ROW, checked against its row in the directory; Damaged if it is not that leaf."""
    _check_digest(data, row, what)
    leaf = np.frombuffer(data, dtype=LEAF_ROW)
    numbers = leaf["number"]
    first = int(row["key"]) * LEAF_BLOCKS
    last = min(first + LEAF_BLOCKS, header.blocks)
    ascending = len(leaf) < 2 or bool((numbers[1:] > numbers[:-1]).all())
    if not len(leaf) or not ascending or numbers[0] < first or numbers[-1] >= last:
        raise Damaged(f"{what}: leaf {int(row['key'])} lists blocks that it may not")
    return leaf


def decode_leaves(data: bytes, rows: NDArray[np.void], header: Header) -> NDArray[np.void] | None:
    """Leaves that follow one another, as one array of LEAF_ROW; None if one is not as `decode_leaf` wants it."""
    counts = rows["count"].astype(np.int64)
    ends = np.cumsum(counts) * LEAF_ROW.itemsize
    if not counts.all() or len(data) != ends[-1]:
        return None
    begins = ends - counts * LEAF_ROW.itemsize
    whole = memoryview(data)
    for begin, end, name in zip(begins.tolist(), ends.tolist(), rows["digest"], strict=True):
        if digest.digest(whole[begin:end]) != name.tobytes():
            return None
    leaves = np.frombuffer(data, dtype=LEAF_ROW)
    numbers = leaves["number"]
    own = numbers // LEAF_BLOCKS == np.repeat(rows["key"], counts)
    if not own.all() or not (numbers[1:] > numbers[:-1]).all() or numbers[-1] >= header.blocks:
        return None
    return leaves


def decode_content_leaf(data: bytes, row: np.void, end: int, header: Header, what: str) -> NDArray[np.void]:
    """A leaf as an array of CONTENT_ROW whose blocks lie without a gap from its key to `end`, in bytes; else Damaged.

    `end` is the next leaf's key, or the image's size.
    """
    _check_digest(data, row, what)
    leaf = np.frombuffer(data, dtype=CONTENT_ROW)
    lengths = leaf["length"].astype(np.uint64)
    ends = leaf["offset"] + lengths
    sound = len(leaf) and bool(((lengths > 0) & (lengths <= header.longest)).all())
    if not sound or leaf["offset"][0] != row["key"] or ends[-1] != end or (leaf["offset"][1:] != ends[:-1]).any():
        raise Damaged(f"{what}: the blocks of the leaf at {int(row['key'])} do not lie one right after another")
    return leaf


def _joined(digests: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), 32)


def _check_digest(data: bytes, row: np.void, what: str) -> None:
    if digest.digest(data) != row["digest"].tobytes():
        raise Damaged(f"{what}: leaf {int(row['key'])} of the manifest is damaged")
