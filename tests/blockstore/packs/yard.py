"""A yard of packs: an index, a directory of packs and one of processes, and writers that left something there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore import frames
from blockstore.digest import digest
from blockstore.index.lmdb_index import LmdbIndex
from blockstore.leases.flock import is_held
from blockstore.names import new_name
from blockstore.packs import pack_format
from blockstore.packs.adoption import Adopted, adopt_orphans
from blockstore.packs.local import LocalPacks
from tests.blockstore.packs.disks import FailingDisk

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.block import Frame, Place
    from blockstore.index.contract import PackRecord

STORE = bytes(range(16))
DEAD = "0" * 32


def entry(seed: int) -> Frame:
    block = random.Random(seed).randbytes(500 + seed)
    return pack_format.make_entry(digest(block), len(block), frames.compress(block))


@dataclass
class Left:
    """What a writer left: its pack and where its entries lie."""

    number: int
    path: Path
    places: list[Place]

    def tear(self, cut: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(self.path.stat().st_size - cut)

    def overwrite(self, at: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


class Yard:
    """An index, a directory of packs and one of processes, all real."""

    def __init__(self, root: Path) -> None:
        for folder in ("packs", "index", "processes"):
            (root / folder).mkdir()
        self.processes = root / "processes"
        self.disk = FailingDisk()
        self.index = LmdbIndex(root / "index", map_size=1 << 24)
        self.packs = LocalPacks(root / "packs", STORE, self.disk)

    def leave(self, *, entries: int = 3, rows: int = 0, sealed: bool = False, owner: str = DEAD) -> Left:
        """A pack with so many entries, of which the first so many have rows, by a writer that is gone now."""
        name = new_name()
        number = self.index.register_pack(name, owner)
        pack = self.packs.create(number, name)
        made = [entry(seed) for seed in range(entries)]
        places = pack.append(made) if made else []
        if sealed:
            pack.seal()
        pack.close()
        if rows:
            self.index.put_many({made[n].digest: places[n] for n in range(rows)})
        return Left(number, pack.path, places)

    def adopt(self) -> int:
        return self.adopted().count

    def adopted(self) -> Adopted:
        return adopt_orphans(self.index, self.packs, self.disk, lambda process: is_held(self.processes / process))

    def record(self, left: Left) -> PackRecord:
        record = self.index.pack(left.number)
        assert record is not None
        return record
