"""A store of many images by their manifests, rows and records alone: what marking and condemning see of one.

    python -m bench.lineages DATA [--entries 10000000]      100 lineages of ten images, so many blocks listed in all

Each lineage is a whole image and nine nightly increments over one another, every block listed once: 64 % of them by the
whole one, 4 % by each increment, scattered over it. Another 5 % are the blocks of an image that is gone; the index
has rows for all, and the packs of what is gone hold nothing else. Manifests, rows, the register of packs, the packs'
tables and the catalog's records are real and agree; only the entries in packs are holes of the file, so
whoever reads a block is at the wrong place here.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sqlite3
import struct
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from bench.big_index import index_file
from blockstore import manifest_builder, manifest_format
from blockstore.block import HEADER_SIZE
from blockstore.checksum import xxh3
from blockstore.data_dir import decode_format
from blockstore.digest import digest
from blockstore.index.bulk_load import BulkIndex
from blockstore.index.contract import ROW, PackRecord, PackState
from blockstore.manifest_format import DIRECTORY_ROW, LEAF_BLOCKS, NO_BASE, Header
from blockstore.manifest_leaf import LEAF_ROW
from blockstore.names import fan_out, new_name
from blockstore.packs.local import SUFFIX
from blockstore.packs.pack_format import (
    SKIPPABLE,
    START_SIZE,
    TABLE_MAGIC,
    TABLE_ROW,
    TRAILER_SIZE,
    Start,
    encode_start,
)
from blockstore.store import BlockStore
from catalog.sql.open import open_catalog
from httpapi.settings import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LINEAGES, INCREMENTS = 100, 9
IMAGES = LINEAGES * (INCREMENTS + 1)
_WHOLE, _EACH, _DEAD = 0.64, 0.04, 0.05  # of a lineage's entries; the dead ones beyond them
_BLOCK: Final = 65536
_FRAME: Final = 26000
_PER_PACK: Final = (64 << 20) // (HEADER_SIZE + _FRAME)
_RECIPE: Final = 1  # part of the cache's name
_PAST: Final = 1_700_000_000_000_000  # microseconds: when the images were made


@dataclass(frozen=True, slots=True)
class Plan:
    """How many blocks each manifest lists, for so many in all."""

    entries: int

    @property
    def whole(self) -> int:
        return int(self.entries / LINEAGES * _WHOLE)

    @property
    def increment(self) -> int:
        return int(self.entries / LINEAGES * _EACH)

    @property
    def dead(self) -> int:
        return int(self.entries / LINEAGES * _DEAD)

    @property
    def listed(self) -> int:
        """By all manifests together, each block once."""
        return LINEAGES * (self.whole + INCREMENTS * self.increment)

    @property
    def rows(self) -> int:
        return self.listed + LINEAGES * self.dead


@dataclass(frozen=True, slots=True)
class _Written:
    """A manifest's file, as the catalog's record tells it."""

    name: str
    digest: bytes
    base: str | None
    depth: int
    size: int
    listed: int


def lineages(work: Path, entries: int) -> Path:
    """A closed data directory with so many blocks listed; made once and kept: copy it before it is written to."""
    home = work / f"lineages-{entries}-{_RECIPE}"
    if not home.exists():
        making = work / f"{home.name}.making"
        shutil.rmtree(making, ignore_errors=True)
        make(making, Plan(entries))
        making.rename(home)
    return home


def make(data: Path, plan: Plan, seed: int = 1) -> None:
    """Fill a new data directory."""
    BlockStore.open(data).close()
    open_catalog(data / CATALOG_FILE).close()
    store = decode_format((data / "format").read_bytes(), "format")
    dice = np.random.Generator(np.random.SFC64(seed))
    names = _digests(plan.rows, dice)
    # Where a block was stored, in the order of time: lineage by lineage, as uploads come.
    order = dice.permutation(plan.rows)
    written = list(_manifests(data, store, plan, names, order, dice))
    _fill_index(data, store, plan, names, order)
    del names, order
    _fill_catalog(data, store.hex(), written)


def _digests(count: int, dice: np.random.Generator) -> NDArray[np.uint8]:
    """Random ones, ascending: shape (count, 32)."""
    heads = np.unique(dice.integers(0, 1 << 64, count + 1000, np.uint64))
    heads = np.delete(heads, dice.choice(len(heads), len(heads) - count, replace=False))
    names = np.empty((count, 32), np.uint8)
    names[:, :8] = heads.astype(">u8").view(np.uint8).reshape(-1, 8)
    names[:, 8:] = np.frombuffer(dice.bytes(24 * count), np.uint8).reshape(-1, 24)
    return names


def _manifests(
    data: Path, store: bytes, plan: Plan, names: NDArray[np.uint8], order: NDArray[np.int64], dice: np.random.Generator
) -> Iterator[_Written]:
    """Written lineage by lineage, oldest first; behind each one's blocks are those that nothing lists."""
    at = 0
    everywhere = np.arange(plan.whole, dtype=np.uint32)
    for _ in range(LINEAGES):
        below: _Written | None = None
        for depth in range(INCREMENTS + 1):
            count = plan.increment if depth else plan.whole
            numbers = np.sort(dice.choice(plan.whole, count, replace=False)).astype(np.uint32) if depth else everywhere
            rows = np.empty(count, LEAF_ROW)
            rows["number"] = numbers
            rows["digest"] = names[order[at : at + count]]
            below = _write(data, store, rows, plan.whole * _BLOCK, below)
            yield below
            at += count
        at += plan.dead


def _write(data: Path, store: bytes, rows: NDArray[np.void], size: int, below: _Written | None) -> _Written:
    """One manifest over another, as `ManifestBuilder` writes it."""
    keys, begins = np.unique(rows["number"] // LEAF_BLOCKS, return_index=True)
    directory = np.zeros(len(keys), DIRECTORY_ROW)
    directory["key"] = keys
    directory["offset"] = manifest_format.HEADER_SIZE + begins * LEAF_ROW.itemsize
    directory["count"] = np.diff(begins, append=len(rows))
    leaves = rows.tobytes()
    edges = (begins * LEAF_ROW.itemsize).tolist()
    sums = [digest(leaves[first:stop]) for first, stop in zip(edges, [*edges[1:], len(leaves)], strict=True)]
    directory["digest"] = np.frombuffer(b"".join(sums), np.uint8).reshape(-1, 32)
    header = manifest_format.encode_header(
        Header(
            store=store,
            block_size=_BLOCK,
            size=size,
            base=below.digest if below else NO_BASE,
            depth=below.depth + 1 if below else 0,
            entries=len(rows),
            holes=0,
            leaves=len(keys),
            directory=manifest_format.HEADER_SIZE + len(leaves),
        )
    )
    name = new_name().hex()
    tail = directory.tobytes()
    manifest_builder.path_of(data / "manifests", name).write_bytes(header + leaves + tail)
    base = below.name if below else None
    whole = manifest_format.manifest_digest(header, tail)
    return _Written(name, whole, base, below.depth + 1 if below else 0, size, len(rows) * _BLOCK)


def _fill_index(data: Path, store: bytes, plan: Plan, names: NDArray[np.uint8], order: NDArray[np.int64]) -> None:
    """A row for each block, in packs that were filled one after another; rows are written in the order of digests."""
    packs, offsets = _sites(plan)
    rows = np.empty(len(names), ROW)
    rows["digest"] = names
    rows["frame"], rows["raw"] = _FRAME, _BLOCK
    rows["pack"][order], rows["offset"][order] = packs, offsets
    begins = np.flatnonzero(np.diff(packs, prepend=0))
    known = [PackRecord(number, new_name(), "", PackState.SEALED, 0) for number in range(1, len(begins) + 1)]
    for record, first, stop in zip(known, begins, [*begins[1:], len(rows)], strict=True):
        _write_pack(data, store, record.name, rows[order[first:stop]])
    with contextlib.closing(BulkIndex(data / "index")) as index:
        index.load_packs(known)
        index.load_rows(rows)


def _sites(plan: Plan) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The packs, and the offsets in them, of all blocks in the order of time. What is deleted has packs of its own."""
    runs = [plan.listed // LINEAGES, plan.dead] * LINEAGES
    within = np.concatenate([np.arange(count) for count in runs])
    packs = np.cumsum(within % _PER_PACK == 0)
    return packs.astype(np.uint32), (START_SIZE + within % _PER_PACK * (HEADER_SIZE + _FRAME)).astype(np.uint32)


def _write_pack(data: Path, store: bytes, name: bytes, rows: NDArray[np.void]) -> None:
    """A sealed pack with a hole where its entries are."""
    table = np.zeros(len(rows), TABLE_ROW)
    for column in ("offset", "raw", "frame", "digest"):
        table[column] = rows[column]
    begins = START_SIZE + len(rows) * (HEADER_SIZE + _FRAME)
    head = struct.pack("<II", SKIPPABLE, table.nbytes + TRAILER_SIZE)
    trailer = struct.pack("<QII8s", begins, len(rows), 0, TABLE_MAGIC)
    body = head + table.tobytes()
    path = data / "packs" / fan_out(name.hex()) / f"{name.hex()}{SUFFIX}"
    with path.open("wb", buffering=0) as file:
        file.write(encode_start(Start(store, name)))
        file.seek(begins)
        file.write(body + struct.pack("<Q", xxh3(body + trailer)) + trailer)


def _fill_catalog(data: Path, store: str, written: list[_Written]) -> None:
    """An active image for each manifest, with its parent."""
    ids = {each.name: str(uuid.uuid4()) for each in written}
    images = [
        (ids[each.name], f"disk-{at // (INCREMENTS + 1)}", each.size, _PAST + at, ids[each.base] if each.base else None)
        for at, each in enumerate(written)
    ]
    manifests = [(each.name, each.digest, each.base, each.depth, each.size, each.listed) for each in written]
    locations = [(ids[each.name], f"blocks://{store}/{each.name}", each.name) for each in written]
    with contextlib.closing(sqlite3.connect(data / CATALOG_FILE)) as catalog, catalog:
        catalog.executemany(
            "INSERT INTO images (id, name, status, visibility, protected, os_hidden, disk_format, container_format, "
            "min_disk, min_ram, size, created_at, updated_at, parent_image_ref) "
            "VALUES (?1, ?2, 'active', 'shared', 0, 0, 'raw', 'bare', 0, 0, ?3, ?4, ?4, ?5)",
            images,
        )
        catalog.executemany(
            "INSERT INTO manifests (id, digest, base, depth, size, state, listed) VALUES (?, ?, ?, ?, ?, 'live', ?)",
            manifests,
        )
        catalog.executemany(
            "INSERT INTO image_locations (image_id, position, url, store, metadata, manifest, status) "
            "VALUES (?, 0, ?, 'blocks', '{}', ?, 'active')",
            locations,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lineages", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--entries", type=int, default=10_000_000)
    wanted = parser.parse_args()
    started = time.perf_counter()
    plan = Plan(wanted.entries)
    make(wanted.data, plan)
    size = index_file(wanted.data).stat().st_size
    print(f"{plan.listed} entries, {plan.rows} rows, {size / 1e6:.0f} MB, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
