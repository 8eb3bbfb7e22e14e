"""The bytes of a manifest, as pure functions; opens no file. FORMAT.md draws them.

Two levels: a header, leaves, and a directory of the leaves with their BLAKE3. A manifest's digest is the BLAKE3 of
header and directory, so it covers every leaf; and one changed block changes one leaf. The rows of leaves, in their two
kinds, are in `manifest_leaf.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import digest
from blockstore.checksum import xxh3
from blockstore.errors import Damaged, GeometryBroken
from blockstore.features import NONE, Features
from chunker.cutting import CutKind, Cutting, CuttingRefused
from chunker.fixed import LONGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"DRYSMANI"
KIND_FIXED: Final = 1
KIND_CONTENT_DEFINED: Final = 2
LEAF_BLOCKS: Final = 1024
NO_BASE: Final = bytes(32)

DIRECTORY_ROW: Final = np.dtype(
    [
        ("key", "<u8"),
        ("offset", "<u8"),
        ("count", "<u4"),
        ("reserved", "<u4"),
        ("digest", "u1", (32,)),
    ]
)
_HEADER: Final = struct.Struct("<8sIIIBBBB16sIIQ32sQQIHHQ")
_SUM: Final = struct.Struct("<Q")
HEADER_SIZE: Final = _HEADER.size + _SUM.size
MOST_BLOCKS: Final = 1 << 32
"""Block numbers are 32 bits: 256 TiB at 64 KiB."""
_KINDS: Final = {KIND_FIXED: CutKind.FIXED, KIND_CONTENT_DEFINED: CutKind.CONTENT_DEFINED}
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Header:
    """What a manifest's header says; sizes and offsets in bytes, `depth` 0 for a whole image.

    Of a content-defined image `block_size` is the average that was asked for, and `algorithm`, `shortest` and `longest`
    say the rest of how it was cut; they are 0 for blocks of one size.
    """

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
    algorithm: int = 0
    shortest: int = 0
    longest: int = 0
    features: Features = NONE

    @property
    def is_fixed(self) -> bool:
        """Whether block n begins at n · block_size; otherwise all rows are listed, with offset and length."""
        return self.kind == KIND_FIXED

    @property
    def cutting(self) -> Cutting:
        """How the image was cut. Raises ValueError (CuttingRefused, KeyError) when it is none that is known."""
        return Cutting(_KINDS[self.kind], self.block_size)

    @property
    def blocks(self) -> int:
        """How many blocks the image has, the odd tail included."""
        return -(-self.size // self.block_size) if self.is_fixed else self.entries

    @property
    def longest_block(self) -> int:
        """No block of the image is longer, in bytes."""
        return self.block_size if self.is_fixed else self.longest


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
        header.algorithm,
        0,
        header.store,
        header.block_size,
        header.depth,
        header.size,
        header.base,
        header.entries,
        header.holes,
        header.leaves,
        header.shortest // _KIB,
        header.longest // _KIB,
        header.directory,
    )
    return body + _SUM.pack(xxh3(body))


def decode_header(data: bytes, what: str) -> Header:
    """Read a header; Damaged when its bytes are not right, DataRefused when it is newer than this program."""
    if len(data) != HEADER_SIZE or data[:8] != MAGIC or xxh3(data[: _HEADER.size]) != _SUM.unpack(data[-8:])[0]:
        raise Damaged(f"{what}: the manifest's header is damaged, or the file was never finished")
    fields = _HEADER.unpack_from(data)
    _, compat, ro_compat, incompat, kind, scheme, algorithm, _, store, block_size, depth, size, base, *rest = fields
    entries, holes, leaves, shortest, longest, directory = rest
    bits = Features(compat, ro_compat, incompat)
    bits.check(what)
    header = Header(
        store=store,
        block_size=block_size,
        size=size,
        base=base,
        depth=depth,
        entries=entries,
        holes=holes,
        leaves=leaves,
        directory=directory,
        kind=kind,
        scheme=scheme,
        algorithm=algorithm,
        shortest=shortest * _KIB,
        longest=longest * _KIB,
        features=bits,
    )
    _check_header(header, what)
    return header


def _check_header(header: Header, what: str) -> None:
    known = header.kind in _KINDS and header.scheme == digest.PLAIN
    try:
        known = known and bool(header.cutting)
    except CuttingRefused:
        known = False
    if not known:
        raise Damaged(
            f"{what}: kind {header.kind}, digest scheme {header.scheme} and block size {header.block_size} "
            "can't be read here"
        )
    if header.is_fixed:
        return
    if header.base != NO_BASE or header.depth:
        raise GeometryBroken(f"{what} is cut by content and has a base: such an image is always whole")
    if not 0 < header.longest <= LONGEST:
        raise Damaged(f"{what} is cut by content into blocks of at most {header.longest} bytes, which can't be")


def manifest_digest(header: bytes, directory: bytes) -> bytes:
    """The manifest's digest, 32 bytes."""
    return digest.digest(header + directory)


def decode_directory(data: bytes, header: Header, what: str) -> NDArray[np.void]:
    """The directory as an array of DIRECTORY_ROW, ascending by key."""
    rows = np.frombuffer(data, dtype=DIRECTORY_ROW)
    keys = rows["key"]
    if len(rows) != header.leaves or (len(rows) > 1 and not (keys[1:] > keys[:-1]).all()):
        raise Damaged(f"{what}: the manifest's directory is damaged")
    if not header.is_fixed:
        _check_all_rows(rows, header, what)
    return rows


def _check_all_rows(rows: NDArray[np.void], header: Header, what: str) -> None:
    """A content-defined image lists all of its blocks, from 0 on, and every leaf but the last is full."""
    counts = rows["count"]
    begins_right = int(rows[0]["key"]) == 0 if len(rows) else header.size == 0
    full = bool((counts[:-1] == LEAF_BLOCKS).all()) and int(counts.sum(dtype=np.uint64)) == header.entries
    if not begins_right or not full or -(-header.entries // LEAF_BLOCKS) != len(rows):
        raise Damaged(f"{what}: the directory does not list the whole image")
