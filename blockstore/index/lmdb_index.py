"""The embedded index: rows and the register as tables of one LMDB environment (`lmdb_env.py`)."""

from __future__ import annotations

import itertools
import struct
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.block import Place
from blockstore.errors import StoreUnavailable
from blockstore.index.bounded import bounded
from blockstore.index.contract import BATCH, ROW, IndexSize, PackRecord, PackState
from blockstore.index.lmdb_env import MAP_SIZE, LmdbEnv, Txn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.disk import Disk
    from blockstore.index.in_use import InUse

_NUMBER: Final = struct.Struct(">I")
_RECORD: Final = struct.Struct("<16sBQB")
_NEXT: Final = b"next-pack"


class LmdbIndex:
    """BlockIndex on one LMDB environment in `directory`; see `index/contract.py` for what each method owes."""

    def __init__(
        self, directory: Path, *, disk: Disk | None = None, map_size: int = MAP_SIZE, in_use: InUse | None = None
    ) -> None:
        self._env = LmdbEnv(directory, disk=disk, map_size=map_size, in_use=in_use)
        self._read = self._env.read
        self._write = self._env.write
        names = (b"blocks", b"condemned", b"bad", b"packs", b"meta")
        self._blocks, self._condemned, self._bad, self._packs, self._meta = self._env.tables(*names)

    def close(self) -> None:
        """Close the environment; no call may follow."""
        self._env.close()

    def get_many(self, digests: Sequence[bytes], *, hidden: bool = False) -> list[Place | None]:
        """Look digests up in one read transaction."""

        def look(txn: Txn) -> list[Place | None]:
            rows = [txn.get(digest, db=self._blocks) for digest in digests]
            if not hidden:
                rows = self._without_marked(txn, digests, rows)
            return [None if row is None else Place.decode(row) for row in rows]

        return self._read(look)

    def _without_marked(self, txn: Txn, digests: Sequence[bytes], rows: list[bytes | None]) -> list[bytes | None]:
        if txn.stat(self._condemned)["entries"]:
            hidden = [txn.get(digest, db=self._condemned) is not None for digest in digests]
            rows = [None if marked else row for marked, row in zip(hidden, rows, strict=True)]
        if txn.stat(self._bad)["entries"]:
            # Only the place that was found bad is: a copy that has been put elsewhere since is as good as any.
            places = [txn.get(digest, db=self._bad) for digest in digests]
            rows = [None if row == bad else row for bad, row in zip(places, rows, strict=True)]
        return rows

    def bad_among(self, digests: Sequence[bytes]) -> frozenset[bytes]:
        """Those of the digests whose row is marked bad; nearly always none, and then nothing is looked up."""

        def look(txn: Txn) -> frozenset[bytes]:
            if not txn.stat(self._bad)["entries"]:
                return frozenset()
            pairs = [(digest, txn.get(digest, db=self._bad)) for digest in digests]
            return frozenset(d for d, bad in pairs if bad is not None and txn.get(d, db=self._blocks) == bad)

        return self._read(look)

    def bad_rows(self) -> list[tuple[bytes, Place]]:
        """Read in one transaction: what is damaged is not much, or there is not much else to do."""

        def look(txn: Txn) -> list[tuple[bytes, Place]]:
            with txn.cursor(self._bad) as cursor:
                marked = list(cursor)
            return [(name, Place.decode(bad)) for name, bad in marked if txn.get(name, db=self._blocks) == bad]

        return self._read(look)

    def put_many(self, rows: Mapping[bytes, Place], *, seal: Iterable[int] = ()) -> None:
        """Add rows, sorted, in transactions of a bounded size and time."""
        todo = sorted(rows.items())
        # Looked up in a read transaction first: rows that are there need no write lock at all.
        known: list[Place | None] = []
        for first in range(0, len(todo), BATCH):
            known += self.get_many([digest for digest, _ in todo[first : first + BATCH]])
        todo = [row for row, place in zip(todo, known, strict=True) if place is None]
        sealed = list(seal)
        while True:
            done, finished = self._write("rows", partial(self._put_some, todo=todo, sealed=sealed))
            todo = todo[done:]
            if finished:
                return

    def _put_some(self, txn: Txn, todo: Sequence[tuple[bytes, Place]], sealed: Sequence[int]) -> tuple[int, bool]:
        ends: dict[int, int] = {}
        # Marks are rare; without any, a row costs one call instead of three, and rows that are there stay as they are.
        marked = any(txn.stat(table)["entries"] for table in (self._condemned, self._bad))
        done = 0
        for done in bounded(len(todo)):
            digest, place = todo[done - 1]
            if place.pack not in ends:
                ends[place.pack] = self._accepting(txn, place.pack).indexed_end
            if marked:
                self._put_row(txn, digest, place)
            else:
                txn.put(digest, place.encode(), db=self._blocks, overwrite=False)
            ends[place.pack] = max(ends[place.pack], place.end)
        for number, end in ends.items():
            self._change_pack(txn, number, indexed_end=end)
        finished = done == len(todo)
        if finished:
            for number in sealed:
                self._change_pack(txn, number, state=PackState.SEALED)
        return done, finished

    def _put_row(self, txn: Txn, digest: bytes, place: Place) -> None:
        condemned = txn.delete(digest, db=self._condemned)
        bad = txn.delete(digest, db=self._bad)
        txn.put(digest, place.encode(), db=self._blocks, overwrite=condemned or bad)

    def _accepting(self, txn: Txn, number: int) -> PackRecord:
        record = self._get_pack(txn, number)
        if record is None or record.state is PackState.RETIRING:
            raise StoreUnavailable(
                f"pack {number} is being retired while blocks in it were referenced: send the upload again"
            )
        return record

    def condemn_many(self, digests: Sequence[bytes], run: bytes) -> None:
        """Mark rows that exist."""

        def mark(txn: Txn, digest: bytes) -> bool:
            return txn.get(digest, db=self._blocks) is not None and txn.put(digest, run, db=self._condemned)

        self._each("condemn", digests, mark)

    def revive_many(self, digests: Sequence[bytes]) -> None:
        """Take marks off."""
        self._each("revive", digests, lambda txn, digest: txn.delete(digest, db=self._condemned))

    def forget_many(self, digests: Sequence[bytes], run: bytes) -> int:
        """Remove rows that still bear `run`."""

        def forget(txn: Txn, digest: bytes) -> bool:
            if txn.get(digest, db=self._condemned) != run:
                return False
            txn.delete(digest, db=self._condemned)
            txn.delete(digest, db=self._bad)
            return bool(txn.delete(digest, db=self._blocks))

        return self._each("forget", digests, forget)

    def move_many(self, moves: Mapping[bytes, tuple[Place, Place]]) -> int:
        """Compare-and-set places."""

        def move(txn: Txn, digest: bytes) -> bool:
            old, new = moves[digest]
            if txn.get(digest, db=self._blocks) != old.encode():
                return False
            self._accepting(txn, new.pack)
            self._change_pack(txn, new.pack, indexed_end=new.end)
            # What is moved was verified on the way.
            txn.delete(digest, db=self._bad)
            return bool(txn.put(digest, new.encode(), db=self._blocks))

        return self._each("move", sorted(moves), move)

    def mark_bad(self, digest: bytes, place: Place) -> bool:
        """Compare the place, then mark."""

        def mark(txn: Txn, digest: bytes) -> bool:
            same = txn.get(digest, db=self._blocks) == place.encode()
            return same and bool(txn.put(digest, place.encode(), db=self._bad))

        return bool(self._each("bad", [digest], mark))

    def scan(self, after: bytes = b"") -> Iterator[tuple[bytes, Place]]:
        """Walk the rows, a batch a transaction."""
        for batch in self._batches(after):
            yield from ((digest, Place.decode(row)) for digest, row in batch)

    def _batches(self, after: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
        while batch := self._read(partial(self._scan_some, after=after)):
            yield batch
            after = batch[-1][0]

    def _scan_some(self, txn: Txn, after: bytes) -> list[tuple[bytes, bytes]]:
        with txn.cursor(self._blocks) as cursor:
            if not (cursor.set_range(after) if after else cursor.first()):
                return []
            if after and cursor.key() == after and not cursor.next():
                return []
            return list(itertools.islice(cursor, BATCH))

    def rows(self, after: bytes = b"") -> Iterator[NDArray[np.void]]:
        """Walk the rows, an array a transaction."""
        for batch in self._batches(after):
            yield np.frombuffer(b"".join(itertools.chain.from_iterable(batch)), dtype=ROW)

    def size(self) -> IndexSize:
        """Counted by LMDB itself, so it costs nothing."""

        def look(txn: Txn) -> IndexSize:
            tables = (self._blocks, self._condemned, self._bad, self._packs)
            rows, condemned, bad, packs = (txn.stat(table)["entries"] for table in tables)
            return IndexSize(rows, condemned, bad, packs, self._env.file.stat().st_size)

        return self._read(look)

    def check(self) -> None:
        """Look at every page of the file."""
        self._env.check()

    def register_pack(self, name: bytes, owner: str) -> int:
        """Give the pack the next number; the counter never goes back."""

        def add(txn: Txn) -> int:
            number: int = _NUMBER.unpack(txn.get(_NEXT, _NUMBER.pack(1), db=self._meta))[0]
            with txn.cursor(self._packs) as cursor:
                # Were the counter damaged, a number given twice would take another pack's rows.
                number = max(number, _NUMBER.unpack(cursor.key())[0] + 1 if cursor.last() else 1)
            txn.put(_NEXT, _NUMBER.pack(number + 1), db=self._meta)
            self._put_pack(txn, PackRecord(number, name, owner, PackState.OPEN, 0))
            return number

        return self._write("register", add)

    def pack(self, number: int) -> PackRecord | None:
        """One record."""
        return self._read(lambda txn: self._get_pack(txn, number))

    def packs(self) -> list[PackRecord]:
        """The register, by number; it has a row for 64 MiB, so it is read whole."""

        def look(txn: Txn) -> list[PackRecord]:
            with txn.cursor(self._packs) as cursor:
                return [self._record(key, row) for key, row in cursor]

        return self._read(look)

    def advance_pack(self, number: int, state: PackState) -> None:
        """Forward only."""
        self._write("register", lambda txn: self._change_pack(txn, number, state=state))

    def drop_pack(self, number: int) -> None:
        """Remove the record."""
        self._write("register", lambda txn: txn.delete(_NUMBER.pack(number), db=self._packs))

    def _get_pack(self, txn: Txn, number: int) -> PackRecord | None:
        row = txn.get(_NUMBER.pack(number), db=self._packs)
        return None if row is None else self._record(_NUMBER.pack(number), row)

    @staticmethod
    def _record(key: bytes, row: bytes) -> PackRecord:
        name, state, end, length = _RECORD.unpack_from(row)
        owner = row[_RECORD.size : _RECORD.size + length].decode()
        return PackRecord(_NUMBER.unpack(key)[0], name, owner, PackState(state), end)

    def _put_pack(self, txn: Txn, record: PackRecord) -> None:
        owner = record.owner.encode()
        row = _RECORD.pack(record.name, record.state, record.indexed_end, len(owner)) + owner
        txn.put(_NUMBER.pack(record.number), row, db=self._packs)

    def _change_pack(self, txn: Txn, number: int, *, state: PackState | None = None, indexed_end: int = 0) -> None:
        record = self._get_pack(txn, number)
        if record is None:
            return
        state = record.state if state is None else PackState(max(state, record.state))
        end = max(record.indexed_end, indexed_end)
        self._put_pack(txn, PackRecord(number, record.name, record.owner, state, end))

    def _each(self, what: str, digests: Sequence[bytes], change: Callable[[Txn, bytes], bool]) -> int:
        """Apply a change row by row, in bounded transactions; gives how many it changed."""
        todo = list(digests)
        changed = 0

        def some(txn: Txn) -> tuple[int, int]:
            done = hits = 0
            for done in bounded(len(todo)):
                hits += change(txn, todo[done - 1])
            return done, hits

        while todo:
            done, hits = self._write(what, some)
            todo = todo[done:]
            changed += hits
        return changed
