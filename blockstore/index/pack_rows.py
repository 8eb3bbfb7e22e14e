"""The register's rows, as bytes in their table: what one transaction reads of them and changes (FORMAT.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from blockstore.errors import StoreUnavailable
from blockstore.index.contract import PackRecord, PackState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blockstore.index.lmdb_env import Txn

NUMBER: Final = struct.Struct(">I")
_RECORD: Final = struct.Struct("<16sBQB")
_NEXT: Final = b"next-pack"


@dataclass(frozen=True, slots=True)
class PackRows:
    """The table of packs, and the one that has the next pack's number."""

    table: Any
    meta: Any

    def add(self, txn: Txn, name: bytes, owner: str) -> int:
        """A new open pack under the next number; the counter never goes back."""
        number: int = NUMBER.unpack(txn.get(_NEXT, NUMBER.pack(1), db=self.meta))[0]
        with txn.cursor(self.table) as cursor:
            # Were the counter damaged, a number given twice would take another pack's rows.
            number = max(number, NUMBER.unpack(cursor.key())[0] + 1 if cursor.last() else 1)
        txn.put(_NEXT, NUMBER.pack(number + 1), db=self.meta)
        self._put(txn, PackRecord(number, name, owner, PackState.OPEN, 0))
        return number

    def load(self, txn: Txn, records: Iterable[PackRecord]) -> None:
        """Records under the numbers that they have; the next one given is above them all."""
        last = 0
        for record in records:
            self._put(txn, record)
            last = max(last, record.number)
        txn.put(_NEXT, NUMBER.pack(last + 1), db=self.meta)

    def get(self, txn: Txn, number: int) -> PackRecord | None:
        """One record."""
        row = txn.get(NUMBER.pack(number), db=self.table)
        return None if row is None else _decode(NUMBER.pack(number), row)

    def all(self, txn: Txn) -> list[PackRecord]:
        """Every record, by number."""
        with txn.cursor(self.table) as cursor:
            return [_decode(key, row) for key, row in cursor]

    def is_accepting(self, txn: Txn, number: int) -> bool:
        """Whether rows may name the pack."""
        record = self.get(txn, number)
        return record is not None and record.state is not PackState.RETIRING

    def accepting(self, txn: Txn, number: int) -> PackRecord:
        """The record of a pack that rows may name; StoreUnavailable if it is on its way out."""
        record = self.get(txn, number)
        if record is None or record.state is PackState.RETIRING:
            raise StoreUnavailable(
                f"pack {number} is being retired while blocks in it were referenced: send the upload again"
            )
        return record

    def change(self, txn: Txn, number: int, *, state: PackState | None = None, indexed_end: int = 0) -> None:
        """Raise what is said, if the pack is there."""
        record = self.get(txn, number)
        if record is None:
            return
        state = record.state if state is None else PackState(max(state, record.state))
        end = max(record.indexed_end, indexed_end)
        self._put(txn, PackRecord(number, record.name, record.owner, state, end))

    def drop(self, txn: Txn, number: int) -> None:
        """Remove the record."""
        txn.delete(NUMBER.pack(number), db=self.table)

    def _put(self, txn: Txn, record: PackRecord) -> None:
        owner = record.owner.encode()
        row = _RECORD.pack(record.name, record.state, record.indexed_end, len(owner)) + owner
        txn.put(NUMBER.pack(record.number), row, db=self.table)


def _decode(key: bytes, row: bytes) -> PackRecord:
    name, state, end, length = _RECORD.unpack_from(row)
    owner = row[_RECORD.size : _RECORD.size + length].decode()
    return PackRecord(NUMBER.unpack(key)[0], name, owner, PackState(state), end)
