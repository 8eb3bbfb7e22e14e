"""The heart of the collection: leases, pins, journals, marks.

A writer brings blocks one by one: lease → look up → [store → put the row] → journal → and at the end it commits. A
collector marks, condemns, lists leases, waits, marks again, and settles each row: revived or forgotten. Here a block is
lost when its row is; packs have a model of their own.

Writers lose their lease at any step (the shared form: its row expired) and go on. Whoever dies is one that loses its
lease and makes no further step, and so is a frozen one: both are among the runs explored. Pins expire at any time.

What is one step: a lease is opened with the look-up, and ended with the journal. A lease that were open longer would
only hold collectors back, so nothing that they could do is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.model.explore import Actor, Parts, Quiet, Rule
from tests.model.protections import protection, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCKS: Final = "XY"
GONE, LIVE = "gone", "live"
"""What a row is; or the name of the run that condemned it."""


class Store(NamedTuple):
    """Rows by block, and the blocks of live images as a set of bits."""

    rows: tuple[str, ...]
    roots: int


class Writer(NamedTuple):
    """`awaited`: the collectors that wait for its lease, as bits; `journal`: blocks, as bits."""

    at: str = "idle"
    block: int = 0
    lease: str = "none"
    awaited: int = 0
    pin: str = "none"
    journal: int = 0


class Collector(NamedTuple):
    """`reached`: what it has marked of the blocks from `block` on."""

    at: str = "idle"
    block: int = 0
    reached: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """See the module."""

    writers: int = 2
    collectors: int = 2
    blocks: int = 2
    revives_own: bool = False
    """A run revives rows that others have marked at its beginning alone, or else at its end; both ways are safe."""
    lease_before_look: bool = protection("a lease is open before the first look-up")
    lease_until_journaled: bool = protection("a lease ends after the journal is durable")
    lease_checked: bool = protection("the lease is checked when journaling, in the journal's transaction")
    waits: bool = protection("the collector waits for leases between condemning and re-marking")
    lists_late: bool = protection("leases are listed after the last row was condemned")
    remarks: bool = protection("what is condemned is marked again before it is forgotten")
    journals_are_roots: bool = protection("the journals of live pins are roots")
    own_marks_only: bool = protection("only rows that still bear the run's mark are forgotten")
    runs_have_names: bool = protection("a mark has the name of its run, and a later run takes it over")
    condemned_hidden: bool = protection("a condemned row is no row for dedup")
    put_clears_mark: bool = protection("putting a condemned row clears its mark")
    commit_checks_pin: bool = protection("a commit deletes its pin's row, and is refused if there is none")
    expiry_deletes: bool = protection("a pin expires by a committed deletion of its row, never by a look at the clock")

    @property
    def start(self) -> Parts:
        store = Store((LIVE,) * self.blocks, (1 << self.blocks) - 1)
        return (store, *(Writer() for _ in self._writers), *(Collector() for _ in self._collectors))

    @property
    def actors(self) -> Sequence[Actor]:
        collect = (self.collect_a, self.collect_b)
        return [
            Actor("user", (0,), self.delete),
            *(Actor(f"writer {at}", (0, at), self.write) for at in self._writers),
            *(
                Actor(f"collector {'AB'[number]}", (0, *self._writers, at), collect[number])
                for number, at in enumerate(self._collectors)
            ),
        ]

    @property
    def rules(self) -> Sequence[Rule]:
        return [Rule((0,), self.lost), *(Rule((0, at), self.journal_lost) for at in self._writers)]

    @property
    def quiet(self) -> Quiet:
        """The other collector may stand anywhere: it is dead."""
        return Quiet((0, *self._writers, self._collectors[0]), self.still, (1 + self.writers,), self.left)

    @property
    def alike(self) -> Sequence[tuple[int, int]]:
        return [(1, 2)] if self.writers == 2 else []

    @property
    def _writers(self) -> range:
        return range(1, 1 + self.writers)

    @property
    def _collectors(self) -> range:
        return range(1 + self.writers, 1 + self.writers + self.collectors)

    def lost(self, store: Store) -> str | None:
        lost = [BLOCKS[block] for block in range(self.blocks) if store.roots >> block & 1 and store.rows[block] == GONE]
        return f"a live image has block {lost[0]}, whose row was forgotten" if lost else None

    def journal_lost(self, store: Store, writer: Writer) -> str | None:
        if writer.pin != "live":
            return None
        lost = [name for at, name in enumerate(BLOCKS) if writer.journal >> at & 1 and store.rows[at] == GONE]
        return f"the journal of a live pin has block {lost[0]}, whose row was forgotten" if lost else None

    @staticmethod
    def still(part: Store | Writer | Collector) -> bool:
        return not part.roots if isinstance(part, Store) else part.at == "idle"

    @staticmethod
    def left(store: Store, *_: Any) -> str | None:
        return None if set(store.rows) == {GONE} else "rows are left"

    def delete(self, store: Store) -> Iterator[tuple[str, Parts]]:
        for block in range(self.blocks):
            if store.roots >> block & 1:
                yield (
                    f"deletes the image of block {BLOCKS[block]}",
                    (store._replace(roots=store.roots & ~(1 << block)),),
                )

    def write(self, store: Store, writer: Writer) -> Iterator[tuple[str, Parts]]:
        if writer.pin == "live":
            gone = "none" if self.expiry_deletes else "expired"
            yield "its pin expires", (store, writer._replace(pin=gone))
        if writer.lease == "held":
            yield "loses its lease", (store, writer._replace(lease="lost", awaited=0))
        yield from getattr(self, f"_write_{writer.at}")(store, writer)

    def _write_idle(self, store: Store, writer: Writer) -> Iterator[tuple[str, Parts]]:
        yield "begins: its pin", (store, writer._replace(at="ready", pin="live"))

    def _write_ready(self, store: Store, writer: Writer) -> Iterator[tuple[str, Parts]]:
        for block in range(self.blocks):
            if not writer.journal >> block & 1:
                row = store.rows[block]
                found = row == LIVE or (row != GONE and not self.condemned_hidden)
                then = "journal" if found else "put"
                words = f"looks {BLOCKS[block]} up and {'finds it' if found else 'stores it'}"
                if self.lease_before_look:
                    yield f"opens its lease, {words}", (store, writer._replace(at=then, block=block, lease="held"))
                else:
                    yield words, (store, writer._replace(at=f"lease_{then}", block=block))
        if writer.journal:
            if writer.pin == "none" and self.commit_checks_pin:
                yield "commits: refused, its pin is gone", (store, Writer())
            else:
                yield "commits: an image", (store._replace(roots=store.roots | writer.journal), Writer())

    @staticmethod
    def _write_lease_put(store: Store, writer: Writer) -> Iterator[tuple[str, Parts]]:
        yield "opens its lease", (store, writer._replace(at="put", lease="held"))

    @staticmethod
    def _write_lease_journal(store: Store, writer: Writer) -> Iterator[tuple[str, Parts]]:
        yield "opens its lease", (store, writer._replace(at="journal", lease="held"))

    def _write_put(self, store: Store, writer: Writer) -> Iterator[tuple[str, Parts]]:
        row = store.rows[writer.block]
        if row == GONE or self.put_clears_mark:
            row = LIVE
        store = store._replace(rows=replaced(store.rows, writer.block, row))
        yield f"puts the row of {BLOCKS[writer.block]}", (store, writer._replace(at="journal"))

    def _write_journal(self, store: Store, writer: Writer) -> Iterator[tuple[str, Parts]]:
        if writer.lease == "held" and not self.lease_until_journaled:
            yield "ends its lease", (store, writer._replace(lease="none", awaited=0))
        elif writer.lease == "lost" and self.lease_checked:
            yield "finds its lease lost and fails", (store, Writer())
        else:
            journal = writer.journal | 1 << writer.block
            done = Writer("ready", pin=writer.pin, journal=journal)
            yield f"journals {BLOCKS[writer.block]}, ends its lease", (store, done)

    def collect_a(self, store: Store, *others: Any) -> Iterator[tuple[str, Parts]]:
        return self._collect(0, store, others[:-1], others[-1])

    def collect_b(self, store: Store, *others: Any) -> Iterator[tuple[str, Parts]]:
        return self._collect(1, store, others[:-1], others[-1])

    def _collect(
        self, number: int, store: Store, writers: tuple[Writer, ...], me: Collector
    ) -> Iterator[tuple[str, Parts]]:
        run = "AB"[number] if self.runs_have_names else "A run"
        mine = 1 << number
        if me.at == "idle":
            reached = self._reached(store, writers)
            if reached != (1 << self.blocks) - 1:
                if not self.lists_late:
                    writers = _listed(writers, mine)
                yield f"marks {_names(reached)}", (store, *writers, Collector("condemn", 0, reached))
        elif me.at == "condemn":
            row = store.rows[me.block]
            reached = bool(me.reached & 1)
            # What earlier runs have left marked loses its mark at once, if a root reaches it.
            revived = LIVE if reached and self.revives_own and row != GONE else row
            after = revived if reached or row == GONE else run
            words = "passes over" if after == row else "revives" if after == LIVE else "condemns"
            rows = replaced(store.rows, me.block, after)
            then = self._next(me, "list" if self.lists_late else "wait")
            words = f"{words} {BLOCKS[me.block]}"
            yield words, (store._replace(rows=rows), *writers, then)
        elif me.at == "list":
            yield "lists the leases", (store, *_listed(writers, mine), Collector("wait"))
        elif me.at == "wait":
            if not self.waits or not any(writer.awaited & mine for writer in writers):
                reached = self._reached(store, writers) if self.remarks else 0
                writers = tuple(writer._replace(awaited=writer.awaited & ~mine) for writer in writers)
                yield f"marks again: {_names(reached)}", (store, *writers, Collector("settle", 0, reached))
        else:
            row, words = self._settled(store.rows[me.block], run, reached=bool(me.reached & 1))
            rows = replaced(store.rows, me.block, row)
            words = f"{words} {BLOCKS[me.block]}"
            yield words, (store._replace(rows=rows), *writers, self._next(me, "idle"))

    def _settled(self, row: str, run: str, *, reached: bool) -> tuple[str, str]:
        if row in {GONE, LIVE} and (self.own_marks_only or reached or row == GONE):
            return row, "has nothing to do for"
        if reached and (row == run or not self.revives_own):
            return LIVE, "revives"
        if not reached and (row == run or not self.own_marks_only):
            return GONE, "forgets"
        return row, "leaves to another run"

    def _next(self, me: Collector, after_last: str) -> Collector:
        if me.block + 1 < self.blocks:
            return Collector(me.at, me.block + 1, me.reached >> 1)
        return Collector(after_last)

    def _reached(self, store: Store, writers: tuple[Writer, ...]) -> int:
        reached = store.roots
        for writer in writers:
            if writer.pin == "live" and self.journals_are_roots:
                reached |= writer.journal
        return reached


def _listed(writers: tuple[Writer, ...], mine: int) -> tuple[Writer, ...]:
    return tuple(
        writer._replace(awaited=writer.awaited | mine) if writer.lease == "held" else writer for writer in writers
    )


def _names(bits: int) -> str:
    return "".join(name for at, name in enumerate(BLOCKS) if bits >> at & 1) or "nothing"
