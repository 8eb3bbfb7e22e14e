"""The embedded index: rows and the register as tables of one LMDB environment (`lmdb_env.py`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from blockstore.block import Place
from blockstore.index.bounded import bounded
from blockstore.index.contract import BATCH, MARKED, ROW, IndexSize, PackRecord, PackState
from blockstore.index.lmdb_env import MAP_SIZE, LmdbEnv, Txn
from blockstore.index.pack_rows import PackRows
from blockstore.index.run_marks import RunMarks
from blockstore.index.walking import pairs_beyond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.disk import Disk
    from blockstore.index.in_use import InUse

T = TypeVar("T")
_SetRow: TypeAlias = "Callable[[Txn, bytes, T, bool], Place | None]"
"""Sets a row's place in a transaction, from what is given for it; told whether any row is marked. None: it stays."""


class LmdbIndex:
    """BlockIndex on one LMDB environment in `directory`; see `index/contract.py` for what each method owes."""

    def __init__(
        self, directory: Path, *, disk: Disk | None = None, map_size: int = MAP_SIZE, in_use: InUse | None = None
    ) -> None:
        self._env = LmdbEnv(directory, disk=disk, map_size=map_size, in_use=in_use)
        self._read = self._env.read
        self._write = self._env.write
        names = (b"blocks", b"condemned", b"bad", b"packs", b"meta")
        self._blocks, self._condemned, self._bad, self._packs, meta = self._env.tables(*names)
        self._register = PackRows(self._packs, meta)
        self._marks = RunMarks(self._blocks, self._condemned)

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
        self._place("rows", todo, seal, self._put_row)

    def _put_row(self, txn: Txn, digest: bytes, place: Place, marked: bool) -> Place | None:  # noqa: FBT001 - _SetRow
        replaced = False
        if marked:
            if self._stays_where_it_is(txn, digest, place.pack):
                return None
            condemned = txn.delete(digest, db=self._condemned)
            bad = txn.delete(digest, db=self._bad)
            replaced = condemned or bad
        return place if txn.put(digest, place.encode(), db=self._blocks, overwrite=replaced) else None

    def _stays_where_it_is(self, txn: Txn, digest: bytes, pack: int) -> bool:
        """Whether a row was condemned and its new place is on its way out; the row loses its mark then."""
        if txn.get(digest, db=self._condemned) is None or self._register.is_accepting(txn, pack):
            return False
        bad = txn.get(digest, db=self._bad)
        return (bad is None or bad != txn.get(digest, db=self._blocks)) and bool(txn.delete(digest, db=self._condemned))

    def _place(self, what: str, todo: Sequence[tuple[bytes, T]], seal: Iterable[int], set_row: _SetRow[T]) -> int:
        """Set the places of rows in bounded transactions, and seal packs in the last one; gives how many were set."""
        sealed = list(seal)
        changed = 0
        while True:
            done, hits = self._write(what, partial(self._place_some, todo=todo, sealed=sealed, set_row=set_row))
            changed += hits
            if done == len(todo):
                return changed
            todo = todo[done:]

    def _place_some(
        self, txn: Txn, todo: Sequence[tuple[bytes, T]], sealed: Sequence[int], set_row: _SetRow[T]
    ) -> tuple[int, int]:
        ends: dict[int, int] = {}
        # Marks are rare; without any, a row costs one call instead of three.
        marked = any(txn.stat(table)["entries"] for table in (self._condemned, self._bad))
        done = hits = 0
        for done in bounded(len(todo)):
            place = set_row(txn, *todo[done - 1], marked)
            if place is not None:
                if place.pack not in ends:
                    ends[place.pack] = self._register.accepting(txn, place.pack).indexed_end
                ends[place.pack] = max(ends[place.pack], place.end)
                hits += 1
        for number, end in ends.items():
            self._register.change(txn, number, indexed_end=end)
        if done == len(todo):
            for number in sealed:
                self._register.change(txn, number, state=PackState.SEALED)
        return done, hits

    def condemn_many(self, digests: Sequence[bytes], run: bytes) -> None:
        """Mark rows that exist."""
        todo = list(digests)
        while todo:
            todo = todo[self._write("condemn", partial(self._marks.put, digests=todo, run=run)) :]

    def revive_many(self, digests: Sequence[bytes]) -> None:
        """Take marks off."""
        self._each("revive", digests, lambda txn, digest: txn.delete(digest, db=self._condemned))

    def condemned(self, run: bytes | None = None) -> Iterator[NDArray[np.void]]:
        """Walk the marks, a batch a transaction."""
        after = b""
        while batch := self._read(partial(pairs_beyond, table=self._condemned, after=after)):
            after = batch[-1][0]
            if marked := b"".join(digest for digest, theirs in batch if run is None or theirs == run):
                yield np.frombuffer(marked, dtype=MARKED)

    def condemned_among(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Looked up in one read transaction."""
        return self._read(partial(self._marks.among, digests=digests))

    def forget_many(self, digests: Sequence[bytes], run: bytes) -> int:
        """Remove rows that still bear `run`."""

        def forget(txn: Txn, digest: bytes) -> bool:
            if txn.get(digest, db=self._condemned) != run:
                return False
            txn.delete(digest, db=self._condemned)
            txn.delete(digest, db=self._bad)
            return bool(txn.delete(digest, db=self._blocks))

        return self._each("forget", digests, forget)

    def move_many(self, moves: Mapping[bytes, tuple[Place, Place]], *, seal: Iterable[int] = ()) -> int:
        """Compare-and-set places, sorted, in transactions of a bounded size and time."""
        return self._place("move", sorted(moves.items()), seal, self._move_row)

    def _move_row(self, txn: Txn, digest: bytes, move: tuple[Place, Place], marked: bool) -> Place | None:  # noqa: FBT001 - _SetRow
        old, new = move
        if txn.get(digest, db=self._blocks) != old.encode():
            return None
        if marked:
            txn.delete(digest, db=self._bad)
        txn.put(digest, new.encode(), db=self._blocks)
        return new

    def mark_bad(self, digest: bytes, place: Place) -> bool:
        """Compare the place, then mark."""

        def mark(txn: Txn, digest: bytes) -> bool:
            same = txn.get(digest, db=self._blocks) == place.encode()
            return same and bool(txn.put(digest, place.encode(), db=self._bad))

        return bool(self._each("bad", [digest], mark))

    def scan(self, after: bytes = b"") -> Iterator[tuple[bytes, Place]]:
        """Walk the rows, a batch a transaction."""
        for rows in self.rows(after):
            data, size = rows.tobytes(), ROW.itemsize
            yield from (
                (data[at : at + 32], Place.decode(data[at + 32 : at + size])) for at in range(0, len(data), size)
            )

    def rows(self, after: bytes = b"") -> Iterator[NDArray[np.void]]:
        """Walk the rows, an array a transaction."""
        start = _successor(after)
        return iter(()) if start is None else self._env.rows(b"blocks", ROW, start)

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
        """Give the pack the next number."""
        return self._write("register", lambda txn: self._register.add(txn, name, owner))

    def pack(self, number: int) -> PackRecord | None:
        """One record."""
        return self._read(lambda txn: self._register.get(txn, number))

    def packs(self) -> list[PackRecord]:
        """The register, by number; it has a row for 64 MiB, so it is read whole."""
        return self._read(self._register.all)

    def advance_pack(self, number: int, state: PackState) -> None:
        """Forward only."""
        self._write("register", lambda txn: self._register.change(txn, number, state=state))

    def retire_pack(self, number: int, digests: Sequence[bytes]) -> bool:
        """Looked at before the lock is taken, since mostly there is a row, and again under it."""

        def is_dead(txn: Txn) -> bool:
            record = self._register.get(txn, number)
            if record is None or record.state is PackState.OPEN:
                return False
            rows = (txn.get(digest, db=self._blocks) for digest in digests)
            return all(row is None or Place.decode(row).pack != number for row in rows)

        def retire(txn: Txn) -> bool:
            dead = is_dead(txn)
            if dead:
                self._register.change(txn, number, state=PackState.RETIRING)
            return dead

        return self._read(is_dead) and self._write("register", retire)

    def drop_pack(self, number: int) -> None:
        """Remove the record."""
        self._write("register", lambda txn: self._register.drop(txn, number))

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


def _successor(key: bytes) -> bytes | None:
    """The next key of the same length; None behind the last one, and the first of all behind none."""
    number = int.from_bytes(key, "big") + 1
    return b"" if not key else None if number >> 8 * len(key) else number.to_bytes(len(key), "big")
