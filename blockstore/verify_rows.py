"""Checking the index's rows: as many for each pack as it has entries that rows name; one by one where not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blockstore.block import HEADER_SIZE, Place
from blockstore.errors import Damaged, Missing, StoreUnavailable
from blockstore.findings import Finding
from blockstore.marks import MARK, compare
from blockstore.pack_contents import data_trouble, header_trouble
from blockstore.packs.pack_format import TableRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.findings import Suspects, Verified
    from blockstore.index.contract import PackRecord
    from blockstore.marks import Marks
    from blockstore.progress import Progress


@dataclass(frozen=True, slots=True)
class RowCheck:
    """`named` has for each pack how many of its entries a row names; findings go to `result` and `suspects`."""

    store: BareStore
    marks: Marks
    named: Mapping[int, int]
    result: Verified
    suspects: Suspects
    progress: Progress
    data: bool = False
    """Whether a row in doubt has its whole entry read: where a pack has no table, a walk passes over a damaged one."""

    def run(self) -> NDArray[np.uint64]:
        """Compare the number of rows by pack with the entries that rows name; gives the marks without a row."""
        index = self.store.index
        self.progress.begin("index", index.size().rows)
        counted: Counter[int] = Counter()
        missing: list[NDArray[np.uint64]] = []
        for part in compare(index.rows(), self.marks):
            numbers, counts = np.unique(part.rows["pack"], return_counts=True)
            counted.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
            self.result.rows += len(part.rows)
            if len(part.missing):
                missing.append(part.missing)
            self.progress.moved(self.result.rows)
        doubtful = {number for number, count in counted.items() if count != self.named.get(number, 0)}
        if doubtful:
            self.check_packs(doubtful)
        return np.concatenate(missing) if missing else np.empty(0, dtype=MARK)

    def check_packs(self, doubtful: AbstractSet[int]) -> None:
        """The rows of some packs, one by one: an open pack gets new ones all the time, others shouldn't differ."""
        records = {record.number: record for record in self.store.index.packs()}
        numbers = np.array(sorted(doubtful), dtype=np.uint32)
        for batch in self.store.index.rows():
            for row in batch[np.isin(batch["pack"], numbers)]:
                self._check_row(row, records)

    def _check_row(self, row: np.void, records: dict[int, PackRecord]) -> None:
        name = row["digest"].tobytes()
        place = Place(*(int(row[part]) for part in ("pack", "offset", "frame", "raw")))
        record = records.get(place.pack)
        trouble = self._row_trouble(name, place, record)
        if trouble is None or self.store.index.get_many([name], hidden=True) != [place]:
            return
        file = str(self.store.packs.path(record.name) if record else self.store.root / "index")
        self.suspects.add(name, place)
        if not self.result.tells_of(file, place.offset):
            what = f"{trouble}, where the index has a block: `drystone admin rebuild-index` finds it if it is elsewhere"
            self.result.add(Finding(file, place.offset, place.end, what, name.hex()))

    def _row_trouble(self, name: bytes, place: Place, record: PackRecord | None) -> str | None:
        if record is None:
            record = self.store.index.pack(place.pack)
        if record is None:
            return f"there is no pack {place.pack}"
        entry = TableRow(place.offset, place.raw_length, place.frame_length, name)
        try:
            stop = place.end if self.data else place.offset + HEADER_SIZE
            (found,) = self.store.packs.read_many(record.name, [(place.offset, stop)])
        except (Damaged, Missing, StoreUnavailable) as error:
            return str(error)
        return data_trouble(entry, memoryview(found)) if self.data else header_trouble(entry, found)
