"""Writes the golden files beside it: `python -m tests.golden.make`. What is in them is said here, once.

They are what the version wrote that brought their format. A test decodes them with today's program and makes the same
bytes again, so a format never changes by accident. Make them again only together with a change of a format, and keep
the old ones readable.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blockstore import frames, journal, manifest_builder
from blockstore.data_dir import encode_format
from blockstore.digest import HOLE, digest
from blockstore.disk import Disk
from blockstore.journal import Record
from blockstore.manifest import ManifestFile
from blockstore.manifest_builder import ManifestBuilder
from blockstore.packs.local import LocalPacks
from blockstore.packs.pack_format import make_entry
from blockstore.places import beside
from blockstore.scan import scan
from chunker.cutting import CutKind, Cutting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blockstore.block import Frame, Place

HERE: Final = Path(__file__).parent
STORE: Final = bytes(range(16))
PACK: Final = bytes.fromhex("019aa0000000d1d2d3d4d5d6d7d8d9da")
TORN_PACK: Final = bytes.fromhex("019aa0000001d1d2d3d4d5d6d7d8d9da")
PIN: Final = bytes.fromhex("019aa0000002d1d2d3d4d5d6d7d8d9da")

BLOCK: Final = 4096
TEXT: Final = (b"no mortar, each stone fits. " * 147)[:BLOCK]
NOISE: Final = random.Random(2026).randbytes(BLOCK)
OTHER: Final = b"a stone that came later. " * 163 + bytes(BLOCK - 25 * 163)
WHOLE_TAIL: Final = b"the odd tail of the whole image"
TAIL: Final = b"the odd tail of the increment, which is longer than that of the base"

BLOCKS: Final = (TEXT, NOISE, OTHER, WHOLE_TAIL, TAIL)
"""What the sealed pack holds, in order; the torn one holds the first two, and the third without its last byte."""

FAR: Final = 1030
"""A block number in the second leaf of the whole image: what lies between is holes."""
WHOLE_SIZE: Final = FAR * BLOCK + BLOCK + len(WHOLE_TAIL)
WHOLE: Final = {0: TEXT, 1: NOISE, 2: TEXT, FAR: TEXT, FAR + 1: WHOLE_TAIL}
"""The whole image: its blocks by number."""

INCREMENT_SIZE: Final = FAR * BLOCK + BLOCK + len(TAIL)
INCREMENT: Final = {1: None, 3: OTHER, FAR + 1: TAIL}
"""What the increment lists; None is an explicit hole, which hides the base's block.

Its file of places says where they are in the sealed pack.
"""

CONTENT: Final = Cutting(CutKind.CONTENT_DEFINED, 16 * 1024)
STREAM: Final = random.Random(2026).randbytes(1 << 16) + bytes(150_000) + random.Random(2027).randbytes(20_000)
"""An image cut by content, with a run of zeros inside: its fourth block begins before them, its fifth is a hole."""

RECORDS: Final = tuple(
    Record(number, digest(block)) for number, block in ((0, TEXT), (1, NOISE), (1 << 33, OTHER), (3, TAIL))
)
"""The journal's whole records; behind them is one more without its last eight bytes."""


def entry(block: bytes) -> Frame:
    """The entry of a block as this machine's zstd compresses it."""
    return make_entry(digest(block), len(block), frames.compress(block))


def build(
    folder: Path,
    size: int,
    listed: dict[int, bytes | None],
    base: ManifestFile | None,
    places: Mapping[bytes, Place] = manifest_builder.NOWHERE,
) -> tuple[Path, bytes]:
    """A manifest of `size` bytes that lists these blocks; its path and its digest."""
    builder = ManifestBuilder(folder, STORE, Cutting(CutKind.FIXED, BLOCK), base, Disk())
    for number, block in sorted(listed.items()):
        builder.add(number, [HOLE if block is None else digest(block)], frozenset(), places=places)
    built = builder.finish(size)
    return manifest_builder.path_of(folder, built.name), built.digest


def golden_content(folder: Path) -> bytes:
    """The content-defined manifest."""
    ends = CONTENT.cutter().cut(memoryview(STREAM), last=True)
    builder = ManifestBuilder(folder, STORE, CONTENT, None, Disk())
    builder.add(0, scan(memoryview(STREAM), ends).digests, frozenset(), ends)
    built = builder.finish(len(STREAM))
    return manifest_builder.path_of(folder, built.name).read_bytes()


def golden_packs(folder: Path) -> tuple[bytes, bytes, dict[bytes, Place]]:
    """The sealed pack and the torn one, and where the sealed one's blocks are."""
    packs = LocalPacks(folder, STORE, Disk())
    sealed = packs.create(1, PACK)
    places = sealed.append([entry(block) for block in BLOCKS])
    sealed.seal()
    sealed.close()
    torn = packs.create(2, TORN_PACK)
    torn.append([entry(block) for block in BLOCKS[:3]])
    torn.sync()
    torn.close()
    where = {digest(block): place for block, place in zip(BLOCKS, places, strict=True)}
    return packs.path(PACK).read_bytes(), packs.path(TORN_PACK).read_bytes()[:-1], where


def golden_manifests(folder: Path, places: Mapping[bytes, Place]) -> tuple[bytes, bytes, bytes]:
    """The whole manifest, the increment over it, and the increment's file of places."""
    path, name = build(folder, WHOLE_SIZE, dict(WHOLE), None)
    base = ManifestFile(path, name)
    try:
        increment, _ = build(folder, INCREMENT_SIZE, dict(INCREMENT), base, places)
    finally:
        base.close()
    return path.read_bytes(), increment.read_bytes(), beside(increment).read_bytes()


def golden_journal(records: Sequence[Record] = RECORDS) -> bytes:
    """A journal whose last record is torn."""
    whole = journal.encode_header(STORE, PIN) + journal.encode_records(records, 0)
    return whole + journal.encode_records([Record(4, digest(WHOLE_TAIL))], len(records))[:-8]


def files() -> dict[str, bytes]:
    """Every golden file by its name."""
    with tempfile.TemporaryDirectory() as folder:
        sealed, torn, places = golden_packs(Path(folder))
        whole, increment, increment_places = golden_manifests(Path(folder), places)
        content = golden_content(Path(folder))
    return {
        "sealed.zst": sealed,
        "torn.zst": torn,
        "whole.manifest": whole,
        "increment.manifest": increment,
        "increment.places": increment_places,
        "content.manifest": content,
        "torn.journal": golden_journal(),
        "format": encode_format(STORE),
    }


if __name__ == "__main__":
    for name, data in files().items():
        (HERE / name).write_bytes(data)
        sys.stdout.write(f"{name}: {len(data)} bytes\n")
