"""A writer's steps in the model of packs: look up, register, create, lock, append, sync, put, journal; and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.packs import BLOCKS, PackRules, Row, Store, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.explore import Parts


def write(rules: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    yield from _STEPS[me.at](rules, store, me)
    if rules.shared and me.at != "idle" and not me.lost:
        yield "loses its lease and its lock", (_unowned(store, me), me._replace(lost=True, claims=0))


def die(store: Store, *writers: Writer) -> Iterator[tuple[str, Parts]]:
    """A process with an open pack dies, and whoever has joined that. Others are as good as dead if they stand still."""
    for me in writers:
        if _is_open(store, me):
            alive = (Writer() if other.pack == me.pack else other for other in writers)
            yield f"the owner of pack {me.pack} dies", (_unowned(store, me), *alive)


def _idle(rules: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    for block, name in enumerate(BLOCKS[: rules.blocks]):
        row = store.rows[block]
        if row and not row.condemned:
            claimed = me._replace(at="journal", block=block, claims=1 << block)
            yield f"looks {name} up and finds it", (store, claimed)
            continue
        if not rules.shared and rules.synced_before_rows:
            yield from _join(store, me, block)
        if me.pack >= 0:
            yield f"looks {name} up: it is not there", (store, me._replace(at="append", block=block))
        elif (number := rules.new(store)) is not None:
            words = f"looks {name} up: it is not there"
            if rules.registered_before_file:
                store_after = store.with_pack(number, record="open", owned=True)
                yield f"{words}; registers pack {number}", (store_after, Writer("create", block, number))
            else:
                store_after = store.with_pack(number, record="unknown", owned=True, file="open", locked=True)
                yield f"{words}; makes the file of pack {number}", (store_after, Writer("register", block, number))


def _join(store: Store, me: Writer, block: int) -> Iterator[tuple[str, Parts]]:
    for number, pack in enumerate(store.packs):
        if me.pack < 0 and pack.owned and pack.loose >> block & 1:
            joined = me._replace(at="sync", block=block, pack=number, claims=1 << block, joined=True)
            words = f"looks {BLOCKS[block]} up: the other has appended it to pack {number}"
            yield words, (store, joined)


def _register(_: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    yield f"registers pack {me.pack}", (store.with_pack(me.pack, record="open"), me._replace(at="append"))


def _create(rules: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    if rules.shared:
        whole = store.with_pack(me.pack, file="sealed", synced=1 << me.block)
        yield f"uploads pack {me.pack} as a whole", (whole, me._replace(at="put"))
    else:
        # The gap between making and locking is seen by those alone who do not ask for the owner's process lock.
        gap = not rules.asks_owner
        made = store.with_pack(me.pack, file="open", locked=not gap)
        yield f"makes the file of pack {me.pack}", (made, me._replace(at="lock" if gap else "append"))


def _lock(_: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    yield f"locks pack {me.pack}", (store.with_pack(me.pack, locked=True), me._replace(at="append"))


def _append(rules: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    pack = store.packs[me.pack]
    if pack.file != "none":
        store = store.with_pack(me.pack, loose=pack.loose | 1 << me.block)
    then = me._replace(at="sync" if rules.synced_before_rows else "put")
    yield f"appends {BLOCKS[me.block]} to pack {me.pack}", (store, then)


def _sync(rules: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    pack = store.packs[me.pack]
    if pack.file != "none":
        store = store.with_pack(me.pack, loose=0, synced=pack.synced | pack.loose)
    yield f"syncs pack {me.pack}", (store, me._replace(at="put" if rules.synced_before_rows else "journal"))


def _put(rules: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    name, row, pack = BLOCKS[me.block], store.rows[me.block], store.packs[me.pack]
    then = me._replace(
        at="journal" if rules.synced_before_rows or rules.shared else "sync",
        claims=0 if me.lost else me.claims | 1 << me.block,
    )
    gone = pack.record in {"retiring", "dropped"}
    if row and not row.condemned:
        yield f"finds the row of {name} there already", (store, then)
    elif gone and row and rules.put_refuses and rules.put_revives:
        yield f"revives the row of {name} where it is", (store.with_row(me.block, Row(row.pack)), then)
    elif gone and rules.put_refuses:
        yield f"puts {name} at pack {me.pack}: refused", (store, Writer() if me.lost else Writer("refused"))
    else:
        put = store.with_row(me.block, Row(me.pack))
        if not rules.shared or pack.record != "open":
            yield f"puts {name} at pack {me.pack}", (put, then)
        if pack.record == "open" and not me.joined and (rules.shared or rules.synced_before_rows):
            sealed = put.with_pack(me.pack, record="sealed", owned=False, locked=False, file="sealed")
            yield f"puts {name} at pack {me.pack} and seals it", (sealed, then._replace(pack=-1))


def _journal(_: PackRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    if me.lost:
        yield "finds its lease lost and fails", (store, Writer())
    else:
        store_after = store._replace(roots=store.roots | 1 << me.block)
        yield f"journals {BLOCKS[me.block]} and commits", (store_after, Writer(pack=-1 if me.joined else me.pack))


def _refused(_rules: PackRules, _store: Store, _me: Writer) -> Iterator[tuple[str, Parts]]:
    return iter(())


def _is_open(store: Store, me: Writer) -> bool:
    return me.pack >= 0 and not me.joined and store.packs[me.pack].record in {"open", "unknown"}


def _unowned(store: Store, me: Writer) -> Store:
    return store.with_pack(me.pack, owned=False, locked=False) if _is_open(store, me) else store


_STEPS = {
    "idle": _idle,
    "register": _register,
    "create": _create,
    "lock": _lock,
    "append": _append,
    "sync": _sync,
    "put": _put,
    "journal": _journal,
    "refused": _refused,
}
