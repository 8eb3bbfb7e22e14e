"""The bytes of a manifest, as pure functions; opens no file. FORMAT.md draws them.

Two levels: a header, leaves, and a directory of the leaves with their BLAKE3. A manifest's digest is the BLAKE3 of
header and directory, so it covers every leaf; and one changed block changes one leaf.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import digest
from blockstore.checksum import xxh3
from blockstore.errors import Damaged
from blockstore.features import NONE, Features

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"DRYSMANI"
KIND_FIXED: Final = 1
KIND_CONTENT_DEFINED: Final = 2
LEAF_BLOCKS: Final = 1024
NO_BASE: Final = bytes(32)

LEAF_ROW: Final = np.dtype([("number", "<u4"), ("digest", "u1", (32,))])
DIRECTORY_ROW: Final = np.dtype(
    [
        ("key", "<u8"),
        ("offset", "<u8"),
        ("count", "<u4"),
        ("reserved", "<u4"),
        ("digest", "u1", (32,)),
    ]
)
_HEADER: Final = struct.Struct("<8sIIIBBH16sIIQ32sQQIIQ")
_SUM: Final = struct.Struct("<Q")
HEADER_SIZE: Final = _HEADER.size + _SUM.size
MOST_BLOCKS: Final = 1 << 32
"""Block numbers are 32 bits: 256 TiB at 64 KiB."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a manifest's header says; sizes and offsets in bytes, `depth` 0 for a whole image."""

    store: bytes
    block_size: int
    size: int
    base: bytes
    depth: int
    entries: int
    holes: int
    leaves: int
    directory: int
    kind: int = KIND_FIXED
    scheme: int = digest.PLAIN
    features: Features = NONE

    @property
    def blocks(self) -> int:
        """How many blocks the image has, the odd tail included."""
        return -(-self.size // self.block_size)


def encode_header(header: Header) -> bytes:
    """HEADER_SIZE bytes."""
    bits = header.features
    body = _HEADER.pack(
        MAGIC,
        bits.compat,
        bits.ro_compat,
        bits.incompat,
        header.kind,
        header.scheme,
        0,
        header.store,
        header.block_size,
        header.depth,
        header.size,
        header.base,
        header.entries,
        header.holes,
        header.leaves,
        0,
        header.directory,
    )
    return body + _SUM.pack(xxh3(body))


def decode_header(data: bytes, what: str) -> Header:
    """Read a header; Damaged when its bytes are not right, DataRefused when it is newer than this program."""
    if len(data) != HEADER_SIZE or data[:8] != MAGIC or xxh3(data[: _HEADER.size]) != _SUM.unpack(data[-8:])[0]:
        raise Damaged(f"{what}: the manifest's header is damaged, or the file was never finished")
    fields = _HEADER.unpack_from(data)
    _, compat, ro_compat, incompat, kind, scheme, _, store, block_size, depth, size, base, *rest = fields
    entries, holes, leaves, _, directory = rest
    bits = Features(compat, ro_compat, incompat)
    bits.check(what)
    if kind != KIND_FIXED or scheme != digest.PLAIN or not block_size:
        raise Damaged(f"{what}: kind {kind}, digest scheme {scheme} and block size {block_size} can't be read here")
    return Header(store, block_size, size, base, depth, entries, holes, leaves, directory, kind, scheme, bits)


def manifest_digest(header: bytes, directory: bytes) -> bytes:
    """The manifest's digest, 32 bytes."""
    return digest.digest(header + directory)


def decode_directory(data: bytes, header: Header, what: str) -> NDArray[np.void]:
    """The directory as an array of DIRECTORY_ROW, ascending by key."""
    rows = np.frombuffer(data, dtype=DIRECTORY_ROW)
    keys = rows["key"]
    if len(rows) != header.leaves or (len(rows) > 1 and not (keys[1:] > keys[:-1]).all()):
        raise Damaged(f"{what}: the manifest's directory is damaged")
    return rows


def decode_leaf(data: bytes, row: np.void, header: Header, what: str) -> NDArray[np.void]:
    """A leaf as an array of LEAF_ROW, checked against its row in the directory; Damaged if it is not that leaf."""
    if digest.digest(data) != row["digest"].tobytes():
        raise Damaged(f"{what}: leaf {int(row['key'])} of the manifest is damaged")
    leaf = np.frombuffer(data, dtype=LEAF_ROW)
    numbers = leaf["number"]
    first = int(row["key"]) * LEAF_BLOCKS
    last = min(first + LEAF_BLOCKS, header.blocks)
    ascending = len(leaf) < 2 or bool((numbers[1:] > numbers[:-1]).all())
    if not len(leaf) or not ascending or numbers[0] < first or numbers[-1] >= last:
        raise Damaged(f"{what}: leaf {int(row['key'])} lists blocks that it may not")
    return leaf
