"""A collector's steps in the model of packs: adopt what is open, drop what is dead, rewrite what is not; and death."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.packs import BLOCKS, Collector, PackRules, Row, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.explore import Parts

_AT_TARGET = frozenset({"copy", "seal_target", "move"})
_UNDER_FLOCK = frozenset({"cut", "seal", "unlink_empty", "drop_empty"})


def collect(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    yield from _STEPS[me.at](rules, store, me)
    if me.at in {"idle", "refused"}:
        return
    alone = store
    if me.at in _AT_TARGET and store.packs[me.target].record == "open":
        alone = alone.with_pack(me.target, owned=False, locked=False)
    if me.at in _UNDER_FLOCK and not rules.shared:
        alone = alone.with_pack(me.pack, locked=False)
    # One that has no lock is as good as dead when it makes no further step.
    if alone != store:
        yield ("loses its lock", (alone, me)) if rules.shared else ("dies", (alone, Collector()))


def _idle(rules: PackRules, store: Store, _: Collector) -> Iterator[tuple[str, Parts]]:
    for number, pack in enumerate(store.packs):
        if pack.record == "open" and not (rules.asks_owner and pack.owned):
            yield f"finds pack {number} open", (store, Collector("adopt", number))
        if pack.record == "sealed" or (pack.record == "open" and not rules.only_sealed_dropped):
            yield from _retire(rules, store, Collector(pack=number))
        todo = store.rows_at(number, condemned=rules.condemned_rows_count)
        if todo and (pack.record == "sealed" or (pack.record == "retiring" and rules.check_after)):
            yield f"will rewrite pack {number}", (store, Collector("target", number, todo=todo))
        if pack.record == "dropped" and pack.file != "none" and rules.shared:
            # Uploaded by somebody who was given up meanwhile. A number is given once, so nothing new is hit.
            after = store.with_pack(number, file="none", synced=0)
            yield f"lists pack {number}, finds no record of it, unlinks it", (after, Collector())
        if pack.record == "retiring":
            looks = rules.check_after and rules.checked_before_unlinked
            yield f"finds pack {number} retiring", (store, Collector("check" if looks else "unlink", number))


def _adopt(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    pack = store.packs[me.pack]
    if pack.file == "none":
        record = "dropped" if pack.record == "open" else pack.record
        yield (
            f"finds no file of pack {me.pack}, drops its record",
            (store.with_pack(me.pack, record=record), Collector()),
        )
    elif rules.shared:
        record = "sealed" if pack.record == "open" else pack.record
        yield f"registers pack {me.pack} as sealed", (store.with_pack(me.pack, record=record), Collector())
    elif rules.asks_flock and pack.locked:
        yield f"finds pack {me.pack} locked", (store, Collector())
    elif rules.register_read_again and pack.record != "open":
        yield f"locks pack {me.pack}, and finds it {pack.record}", (store, Collector())
    else:
        yield f"locks pack {me.pack}", (store.with_pack(me.pack, locked=True), me._replace(at="cut"))


def _cut(_: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    pack = store.packs[me.pack]
    if pack.file == "none":
        yield f"finds pack {me.pack} gone", (store.with_pack(me.pack, locked=False), Collector())
    elif not pack.synced | pack.loose:
        yield f"finds nothing in pack {me.pack}", (store, me._replace(at="unlink_empty"))
    elif pack.file == "sealed":
        yield f"finds the file of pack {me.pack} sealed", (store, me._replace(at="seal"))
    else:
        for kept in sorted({0, pack.loose}):
            words = "cuts off what was not synced" if pack.loose and not kept else "keeps all"
            cut = store.with_pack(me.pack, file="sealed", synced=pack.synced | kept, loose=0)
            yield f"seals the file of pack {me.pack}, {words}", (cut, me._replace(at="seal"))


def _seal(_: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    record = store.packs[me.pack].record
    record = "sealed" if record == "open" else record
    after = store.with_pack(me.pack, record=record, owned=False, locked=False)
    yield f"registers pack {me.pack} as sealed", (after, Collector())


def _unlink_empty(_: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    after = store.with_pack(me.pack, file="none", synced=0, loose=0)
    yield f"unlinks pack {me.pack}", (after, me._replace(at="drop_empty"))


def _drop_empty(_: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    yield f"drops the record of pack {me.pack}", (store.with_pack(me.pack, record="dropped", locked=False), Collector())


def _retire(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    """Set a pack retiring if no row names it."""
    record = store.packs[me.pack].record
    has_rows = store.rows_at(me.pack, condemned=rules.condemned_rows_count)
    if has_rows or record in {"never", "dropped"}:
        if me.at != "idle":
            yield f"leaves pack {me.pack}", (store, Collector())
    elif rules.checked_when_retired and not rules.check_after:
        yield from _set_retiring(rules, store, me)
    else:
        yield f"finds no row at pack {me.pack}", (store, Collector("retire", me.pack))


def _set_retiring(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    then = Collector("check" if rules.check_after and rules.checked_when_retired else "unlink", me.pack)
    if store.packs[me.pack].record == "dropped":
        yield f"finds pack {me.pack} dropped", (store, Collector())
    elif rules.retiring_first:
        found = "finds no row at it, " if me.at == "idle" else ""
        yield f"pack {me.pack}: {found}sets it retiring", (store.with_pack(me.pack, record="retiring"), then)
    else:
        yield f"finds no row at pack {me.pack}", (store, then)


def _check(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    todo = store.rows_at(me.pack, condemned=rules.condemned_rows_count)
    then = Collector("target", me.pack, todo=todo) if todo else Collector("unlink", me.pack)
    yield f"finds {'a row' if todo else 'no row'} at pack {me.pack}", (store, then)


def _unlink(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    if rules.unlinked_before_dropped:
        after = store.with_pack(me.pack, file="none", synced=0, loose=0)
        yield f"unlinks pack {me.pack}", (after, me._replace(at="drop"))
    else:
        yield (
            f"drops the record of pack {me.pack}",
            (store.with_pack(me.pack, record="dropped"), me._replace(at="drop")),
        )


def _drop(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    if rules.unlinked_before_dropped:
        yield f"drops the record of pack {me.pack}", (store.with_pack(me.pack, record="dropped"), Collector())
    else:
        yield f"unlinks pack {me.pack}", (store.with_pack(me.pack, file="none", synced=0, loose=0), Collector())


def _target(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    number = rules.new(store)
    if number is not None:
        after = store.with_pack(number, record="open", owned=True)
        yield f"registers pack {number} as its target", (after, me._replace(at="copy", target=number))


def _copy(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    found = store.packs[me.pack]
    if found.file == "none":
        after = store.with_pack(me.target, record="dropped", owned=False)
        yield f"finds pack {me.pack} gone and gives up", (after, Collector())
    elif store.packs[me.target].record != "open":
        yield "finds its target taken", (store, Collector())
    else:
        after = store.with_pack(me.target, file="sealed", synced=me.todo & found.synced, locked=True)
        then = me._replace(at="move" if rules.sealed_with_rows else "seal_target")
        yield f"copies {_names(me.todo)} to pack {me.target}, syncs it and seals its file", (after, then)


def _seal_target(_: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    after = _sealed(store, me.target)
    yield f"registers pack {me.target} as sealed", (after, me._replace(at="move"))


def _move(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    block = 0 if me.todo & 1 else 1
    row, name = store.rows[block], BLOCKS[block]
    rest = me.todo & ~(1 << block)
    then = me._replace(todo=rest) if rest else Collector("old", me.pack)
    if rules.move_refuses and store.packs[me.target].record in {"retiring", "dropped"}:
        fails = Collector() if rules.shared else Collector("refused")
        yield f"moves {name} to pack {me.target}: refused", (store, fails)
        return
    after = store if rest or not rules.sealed_with_rows else _sealed(store, me.target)
    if rules.move_compares and (row is None or row.pack != me.pack):
        yield f"leaves {name}, which is elsewhere", (after, then)
    else:
        moved = Row(me.target, condemned=bool(row and row.condemned))
        yield f"moves {name} to pack {me.target}", (after.with_row(block, moved), then)


def _old(rules: PackRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    record = store.packs[me.pack].record
    if record == "sealed":
        yield from _retire(rules, store, me)
    elif record == "retiring" and rules.check_after:
        yield f"finds pack {me.pack} retiring", (store, Collector("check", me.pack))
    else:
        yield f"finds pack {me.pack} done with", (store, Collector())


def _refused(_rules: PackRules, _store: Store, _me: Collector) -> Iterator[tuple[str, Parts]]:
    return iter(())


def _sealed(store: Store, number: int) -> Store:
    record = store.packs[number].record
    return store.with_pack(number, record="sealed" if record == "open" else record, owned=False, locked=False)


def _names(bits: int) -> str:
    return "".join(name for at, name in enumerate(BLOCKS) if bits >> at & 1)


_STEPS = {
    "idle": _idle,
    "adopt": _adopt,
    "cut": _cut,
    "seal": _seal,
    "unlink_empty": _unlink_empty,
    "drop_empty": _drop_empty,
    "retire": _set_retiring,
    "check": _check,
    "unlink": _unlink,
    "drop": _drop,
    "target": _target,
    "copy": _copy,
    "seal_target": _seal_target,
    "move": _move,
    "old": _old,
    "refused": _refused,
}
