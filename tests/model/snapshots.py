"""Reading the roots: two snapshots of the catalog, and the files that they name, one after another, while all goes on.

What leases are for is shown elsewhere. Here it matters what a snapshot says and what is found on the disk after it:
manifests that come (commits), change (coalescing) and go (deletion, and another collector that unlinks), journals that
grow, are cut, and are removed after their commit.

A writer's journal takes a record a request: written, then synced or cut off. Later the catalog counts it. The collector
re-reads a journal from where its notes say; the notes and what is still to be read stand with the writer here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.model.explore import Actor, Parts, Quiet, Rule
from tests.model.protections import protection, replaced
from tests.model.snapshot_writer import BLOCKS, GONE, UNREAD, Manifest, Store, Writer, elsewhere, names_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Collector(NamedTuple):
    """`todo`: manifests of the snapshot to be read; `known`: those of earlier ones; `missing`: something was gone."""

    at: str = "idle"
    todo: int = 0
    known: int = 0
    newest: int = 0
    reached: int = 0
    missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """See the module."""

    writers: int = 2
    blocks: int = 2
    manifests: int = 3
    one_snapshot: bool = protection("manifests and pins are read in one snapshot")
    looks_again: bool = protection("what re-marking does not find on the disk makes it take another snapshot")
    retired_are_read: bool = protection("a manifest of the snapshot is read although it was retired since")
    notes_acknowledged: bool = protection("a journal is read on from what was acknowledged at the first snapshot")
    reads_to_its_end: bool = protection("re-marking reads a journal to its last valid record, acknowledged or not")
    journals_read_on: bool = protection("re-marking reads on in journals that were marked")
    new_pins_read: bool = protection("re-marking reads the journals of pins that were not there at the first snapshot")
    orphans_deleted: bool = protection("a dead process's pin is a root until a transaction has deleted it")
    new_by_id: bool = protection("new manifests are the difference of two listings by name, never by time")

    @property
    def start(self) -> Parts:
        first = Manifest("live", 1, file=True)
        others = (Manifest() for _ in range(1, self.manifests))
        store = Store(("there",) * self.blocks, (first, *others), (0,))
        return (store, *(Writer() for _ in self._writers), Collector())

    @property
    def actors(self) -> Sequence[Actor]:
        steps = partial(write, self.blocks)
        return [
            Actor("elsewhere", (0,), elsewhere),
            *(Actor(f"writer {at}", (0, at), steps) for at in self._writers),
            Actor("collector", (0, *self._writers, self.writers + 1), self.collect),
        ]

    @property
    def rules(self) -> Sequence[Rule]:
        return [Rule((0,), _lost), *(Rule((0, at), _journal_lost) for at in self._writers)]

    @property
    def quiet(self) -> Quiet | None:
        return None

    @property
    def alike(self) -> Sequence[tuple[int, int]]:
        return [(1, 2)] if self.writers == 2 else []

    @property
    def _writers(self) -> range:
        return range(1, 1 + self.writers)

    def collect(self, store: Store, *others: Any) -> Iterator[tuple[str, Parts]]:
        writers, me = others[:-1], others[-1]
        match me.at:
            case "idle":
                yield self._look(store, writers, Collector("mark"))
            case "pins mark" | "pins re-mark":
                listed = tuple(_listed(writer) for writer in writers)
                yield "reads the pins", (store, *listed, me._replace(at=me.at.removeprefix("pins ")))
            case "wait":
                if not any(writer.lease == "awaited" for writer in writers):
                    yield self._look(store, writers, me._replace(at="re-mark", reached=0))
            case "forget":
                forgotten = store._replace(rows=tuple("gone" if row == "condemned" else row for row in store.rows))
                yield "forgets what is condemned", (forgotten, *writers, Collector())
            case _:
                unread = [at for at, writer in enumerate(writers) if writer.listed != UNREAD]
                if me.todo or not unread:
                    yield self._read(store, writers, me)
                for at in unread if not me.todo else ():
                    # In any order: writers are alike, and which is the first must not matter.
                    words, read, after = self._read_journal(at, writers[at], me)
                    yield words, (store, *replaced(writers, at, read), after)

    def _look(self, store: Store, writers: Sequence[Writer], me: Collector) -> tuple[str, Parts]:
        live = store.live()
        todo = live & ~me.known if self.new_by_id or me.at == "mark" else live >> me.newest + 1 << me.newest + 1
        known = live if me.at == "re-mark" else 0
        if me.at == "mark" and not self.new_by_id:
            me = me._replace(newest=store.newest())
        me = me._replace(todo=todo, known=known, missing=False)
        if self.one_snapshot:
            return "takes a snapshot", (store, *(_listed(writer) for writer in writers), me)
        return "reads the manifests", (store, *writers, me._replace(at=f"pins {me.at}"))

    def _read(self, store: Store, writers: tuple[Writer, ...], me: Collector) -> tuple[str, Parts]:
        """The next manifest of the snapshot, or what comes after its last file."""
        if me.todo:
            number = (me.todo & -me.todo).bit_length() - 1
            manifest = store.manifests[number]
            todo = me.todo & ~(1 << number)
            known = me.known | (1 << number if me.at == "mark" else 0)
            if manifest.file and (self.retired_are_read or manifest.state == "live"):
                me = me._replace(todo=todo, known=known, reached=me.reached | manifest.lists)
                return f"{_verb(me)} manifest {number}", (store, *writers, me)
            me = me._replace(todo=todo, known=known, missing=me.missing or not manifest.file)
            return f"does not find manifest {number}", (store, *writers, me)
        if me.at == "mark":
            return self._condemn(store, writers, me)
        if me.missing and self.looks_again:
            return self._look(store, writers, me)
        rows = tuple(
            "there" if row == "condemned" and me.reached >> at & 1 else row for at, row in enumerate(store.rows)
        )
        writers = tuple(writer._replace(noted=UNREAD) for writer in writers)
        return f"revives what it reached: {names_of(me.reached)}", (
            store._replace(rows=rows),
            *writers,
            Collector("forget"),
        )

    def _read_journal(self, at: int, writer: Writer, me: Collector) -> tuple[str, Writer, Collector]:
        counted, done = writer.listed, writer._replace(listed=UNREAD)
        name = f"{_verb(me)} writer {at + 1}'s journal"
        if counted == GONE:
            return f"{name}: it is gone", done, me._replace(missing=True)
        if writer.at == "ended" and not self.orphans_deleted:
            return f"{name}: its process is dead, passed over", done, me
        if me.at == "re-mark" and not self._reads(writer):
            return f"{name}: passed over", done, me
        first = 0 if writer.noted == UNREAD else writer.noted
        records = writer.journal[first:]
        if me.at == "re-mark" and not self.reads_to_its_end:
            records = writer.journal[first:counted]
        if me.at == "mark":
            done = done._replace(noted=counted if self.notes_acknowledged else len(writer.journal))
        reached = sum(1 << block for block in set(records))
        words = f"{name} from record {first} on: {names_of(reached)}"
        return words, done, me._replace(reached=me.reached | reached)

    def _reads(self, writer: Writer) -> bool:
        return self.new_pins_read if writer.noted == UNREAD else self.journals_read_on

    @staticmethod
    def _condemn(store: Store, writers: Sequence[Writer], me: Collector) -> tuple[str, Parts]:
        unreached = [row == "there" and not me.reached >> at & 1 for at, row in enumerate(store.rows)]
        rows = tuple("condemned" if bad else row for bad, row in zip(unreached, store.rows, strict=True))
        awaited = (writer._replace(lease="awaited") if writer.lease == "held" else writer for writer in writers)
        words = f"condemns {names_of(sum(1 << at for at, bad in enumerate(unreached) if bad))} and lists the leases"
        return words, (store._replace(rows=rows), *awaited, Collector("wait", known=me.known, newest=me.newest))


def _verb(me: Collector) -> str:
    return "marks" if me.at == "mark" else "marks again"


def _listed(writer: Writer) -> Writer:
    return writer._replace(listed=writer.counted) if writer.pin else writer


def _lost(store: Store) -> str | None:
    for number in store.images:
        for block, name in enumerate(BLOCKS[: len(store.rows)]):
            if store.manifests[number].lists >> block & 1 and store.rows[block] == "gone":
                return f"an image has manifest {number}, which lists {name}, whose row was forgotten"
    return None


def _journal_lost(store: Store, writer: Writer) -> str | None:
    if writer.pin:
        for block in writer.journal[: writer.counted]:
            if store.rows[block] == "gone":
                return f"a request was answered that brought {BLOCKS[block]}, whose row was forgotten"
    return None
