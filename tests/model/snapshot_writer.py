"""Who changes the roots, in the model of snapshots: users, coalescing, another collector, and writers with journals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.model.protections import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.explore import Parts

BLOCKS: Final = "XY"
UNREAD, GONE = -1, -2
"""Of a journal: not in the snapshot, or not noted; in the snapshot and removed since."""


class Manifest(NamedTuple):
    """`state`: never, built (a file without a row), live or retired; the blocks that it lists, as bits; its file."""

    state: str = "never"
    lists: int = 0
    file: bool = False


class Store(NamedTuple):
    """Rows by block: there, condemned or forgotten; manifests; those that images name."""

    rows: tuple[str, ...]
    manifests: tuple[Manifest, ...]
    images: tuple[int, ...]

    def with_manifest(self, number: int, **changes: Any) -> Store:
        manifest = self.manifests[number]._replace(**changes)
        return self._replace(manifests=replaced(self.manifests, number, manifest))

    def live(self) -> int:
        return sum(1 << at for at, manifest in enumerate(self.manifests) if manifest.state == "live")

    def new(self) -> int | None:
        return next((at for at, manifest in enumerate(self.manifests) if manifest.state == "never"), None)

    def newest(self) -> int:
        return max(at for at, manifest in enumerate(self.manifests) if manifest.state != "never")


class Writer(NamedTuple):
    """`journal`: its records, `loose` of them not synced, `counted` acknowledged in the catalog.

    `listed` and `noted` are the collector's: the count in its snapshot, if it has the journal still to read, and where
    it goes on reading next time.
    """

    at: str = "idle"
    block: int = 0
    lease: str = "none"
    pin: bool = False
    journal: tuple[int, ...] = ()
    loose: int = 0
    counted: int = 0
    manifest: int = -1
    listed: int = UNREAD
    noted: int = UNREAD

    def over(self) -> Writer:
        """Without its journal."""
        return Writer(listed=GONE if self.listed != UNREAD else UNREAD)


def elsewhere(store: Store) -> Iterator[tuple[str, Parts]]:
    """Users, coalescing, and another collector's removal of files."""
    for at, number in enumerate(store.images):
        images = store.images[:at] + store.images[at + 1 :]
        retired = store.with_manifest(number, state="retired")
        yield f"an image is deleted, its manifest {number} retired", (retired._replace(images=images),)
        new = store.new()
        if new is not None:
            flat = retired.with_manifest(new, state="live", lists=store.manifests[number].lists, file=True)
            words = f"an image is coalesced: it has manifest {new} now, {number} is retired"
            yield words, (flat._replace(images=tuple(sorted((*images, new)))),)
    for number, manifest in enumerate(store.manifests):
        if manifest.state == "retired" and manifest.file:
            yield f"retired manifest {number} is unlinked", (store.with_manifest(number, file=False, lists=0),)


def write(blocks: int, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    match me.at:
        case "idle":
            if store.new() is not None:
                yield "begins: its pin", (store, me._replace(at="ready", pin=True, noted=UNREAD))
        case "ready":
            yield from _ready(blocks, store, me)
        case "put":
            yield (
                f"puts {BLOCKS[me.block]}",
                (
                    store._replace(rows=replaced(store.rows, me.block, "there")),
                    me._replace(at="append"),
                ),
            )
        case "append":
            journal = (*me.journal, me.block)
            yield (
                f"appends {BLOCKS[me.block]} to its journal",
                (store, me._replace(at="sync", journal=journal, loose=1)),
            )
        case "sync":
            ready = me._replace(at="ready", block=0, lease="none", loose=0)
            yield "syncs its journal, ends its lease", (store, ready)
            yield "can't sync its journal, cuts it, ends its lease", (store, ready._replace(journal=me.journal[:-1]))
        case "commit":
            live = store.with_manifest(me.manifest, state="live")
            live = live._replace(images=tuple(sorted((*store.images, me.manifest))))
            over = me._replace(at="over", pin=False, counted=0, manifest=-1)
            yield f"commits manifest {me.manifest}", (live, over)
        case "over":
            yield "its process ends", (store, me._replace(at="ended"))
            yield "removes its journal", (store, me.over())
        case _:
            yield "its journal is removed", (store, me.over())


def _ready(blocks: int, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    for block, name in enumerate(BLOCKS[:blocks]):
        if block not in me.journal:
            found = store.rows[block] == "there"
            words = f"opens its lease, looks {name} up and {'finds it' if found else 'stores it'}"
            yield words, (store, me._replace(at="append" if found else "put", block=block, lease="held"))
    if len(me.journal) > me.counted:
        yield "is answered: its record is counted", (store, me._replace(counted=len(me.journal)))
    number = store.new()
    if me.journal and number is not None:
        lists = sum(1 << block for block in me.journal)
        built = store.with_manifest(number, state="built", lists=lists, file=True)
        yield f"writes manifest {number} with {names_of(lists)}", (built, me._replace(at="commit", manifest=number))


def names_of(bits: int) -> str:
    return "".join(name for at, name in enumerate(BLOCKS) if bits >> at & 1) or "nothing"
