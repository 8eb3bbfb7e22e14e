"""Who makes manifests, in the model of them: uploads, over a base or whole, and the job that coalesces a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.model.manifests import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.explore import Parts
    from tests.model.manifests import ManifestRules, Store

OVER_BASE, WHOLE = 2, 3
"""What an upload stores and lists, as bits."""


class Writer(NamedTuple):
    """`base` it has pinned, `name` of its manifest, blocks in its journal, while its pin is there."""

    at: str = "idle"
    base: int = NOBODY
    name: int = NOBODY
    pin: bool = False
    has: int = 0


class Coalescer(NamedTuple):
    """The `image`, the `chain` that it had, the `name` of the flat one; a pin where there is a register."""

    at: str = "idle"
    image: int = NOBODY
    chain: int = NOBODY
    name: int = NOBODY
    pin: bool = False


def write(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    if me.pin:
        after = Writer() if me.at == "dead" else me._replace(pin=False, has=0)
        yield "its pin expires", (_unpinned(rules, store, me), after)
    if me.name >= 0 and store.manifests[me.name].locked and not rules.register:
        # Without a lock, whoever dies is one that makes no further step.
        unlocked = store.change(me.name, locked=False)
        yield "dies", (unlocked, me._replace(at="dead", name=NOBODY) if me.pin else Writer())
    if me.at != "dead":
        yield from _WRITE[me.at](rules, store, me)


def _read(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    if rules.begin_asks_base and store.manifests[me.base].row != "live":
        yield f"finds base {me.base} retired", (store, Writer())
    else:
        yield f"begins: a pin on base {me.base}", (store.hold(me.base, 1), me._replace(at="store", pin=True))


def _store(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    has = WHOLE if me.base == NOBODY else OVER_BASE
    stored = store._replace(blocks=store.blocks | has)
    then = me._replace(at="register" if rules.register and rules.row_before_file else "file")
    if me.pin:
        stored, then = stored.journal(has, 1), then._replace(has=has)
    yield "stores and journals its blocks", (stored, then)


def _lock(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    manifest = store.manifests[me.name]
    if rules.lock_after and rules.locked_when_visible and (manifest.locked or not manifest.file):
        yield f"finds the file of manifest {me.name} taken, gives up", (_unpinned(rules, store, me), Writer())
        return
    yield f"locks the file of manifest {me.name}", (store.change(me.name, locked=True), me._replace(at="commit"))


def _to_commit(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    if store.manifests[me.name].locked and not rules.locked_until_commit:
        yield "lets the lock go", (store.change(me.name, locked=False), me)
    yield _commit(rules, store, me)


def _begin(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    if rules.new(store) is None or NOBODY not in store.images:
        return
    yield "begins: a pin, no base", (store, me._replace(at="store", pin=True))
    for image, number in enumerate(store.images):
        if number >= 0:
            yield f"reads that image {image} has manifest {number}", (store, me._replace(at="read", base=number))


def _register(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    number = me.name if me.name >= 0 else rules.new(store)
    if number is None or not me.pin:
        yield "gives up", (_unpinned(rules, store, me), Writer())
        return
    registered = store.change(number, row="new", pinned=True)
    then = me._replace(at="file" if rules.row_before_file else "commit", name=number)
    yield f"registers manifest {number} as new", (registered, then)


def _file(rules: ManifestRules, store: Store, me: Writer) -> Iterator[tuple[str, Parts]]:
    number = me.name if me.name >= 0 else rules.new(store)
    if number is None:
        yield "gives up", (_unpinned(rules, store, me), Writer())
        return
    row = store.manifests[number].row
    row = "none" if row == "never" or (row == "gone" and me.name < 0) else row
    locked = not rules.register and rules.locked_when_visible and not rules.lock_after
    registers = rules.register and not rules.row_before_file
    after = "register" if registers else "commit" if rules.register or locked else "lock"
    then = me._replace(at=after, name=number)
    lists = WHOLE if me.base == NOBODY else OVER_BASE
    made = store.change(number, row=row, base=me.base, lists=lists, file=True, locked=locked)
    yield f"makes the file of manifest {number}" + (f" over {me.base}" if me.base >= 0 else ""), (made, then)
    if me.base >= 0 and store.readable(me.base) and store.chain(me.base) | OVER_BASE == WHOLE:
        flat = store.change(number, row=row, base=NOBODY, lists=WHOLE, file=True, locked=locked)
        yield f"makes the file of manifest {number}, flat", (flat, then)


def _commit(rules: ManifestRules, store: Store, me: Writer) -> tuple[str, Parts]:
    manifest = store.manifests[me.name]
    why = None
    if rules.commit_asks_pin and not me.pin:
        why = "its pin is gone"
    elif rules.commit_asks_base and manifest.base >= 0 and store.manifests[manifest.base].row != "live":
        why = "its base is not live"
    elif rules.register and rules.commit_needs_row and manifest.row != "new":
        why = "its row is gone"
    elif NOBODY not in store.images:
        why = "its image was deleted"
    if why:
        return f"commits: refused, {why}", (_unpinned(rules, store.change(me.name, locked=False), me), Writer())
    image = store.images.index(NOBODY)
    live = store.change(me.name, row="live", locked=False, pinned=False)
    live = live._replace(images=replaced_image(store, image, me.name))
    return f"commits manifest {me.name} as image {image}", (_unpinned(rules, live, me), Writer())


def replaced_image(store: Store, image: int, number: int) -> tuple[int, ...]:
    return (*store.images[:image], number, *store.images[image + 1 :])


def _unpinned(rules: ManifestRules, store: Store, me: Writer) -> Store:
    """The pin's row goes, and with it what it held."""
    if not me.pin:
        return store
    if rules.register and me.name >= 0:
        store = store.change(me.name, pinned=False)
    store = store.journal(me.has, -1)
    return store if me.base == NOBODY else rules.let_go(store.hold(me.base, -1), me.base)


def coalesce(rules: ManifestRules, store: Store, me: Coalescer) -> Iterator[tuple[str, Parts]]:
    if me.pin:
        unpinned = store.change(me.name, pinned=False)
        yield "its pin expires", (unpinned, me._replace(pin=False))
    if me.name >= 0 and store.manifests[me.name].locked and not rules.register:
        yield "dies", (store.change(me.name, locked=False), Coalescer())
    yield from _COALESCE[me.at](rules, store, me)


def _choose(rules: ManifestRules, store: Store, _: Coalescer) -> Iterator[tuple[str, Parts]]:
    for image, number in enumerate(store.images):
        if number >= 0 and store.manifests[number].base >= 0 and rules.new(store) is not None:
            then = Coalescer("register" if rules.register else "file", image, number)
            yield f"reads that image {image} has manifest {number}", (store, then)


def _register_flat(rules: ManifestRules, store: Store, me: Coalescer) -> Iterator[tuple[str, Parts]]:
    number = rules.new(store)
    if number is not None:
        registered = store.change(number, row="new", pinned=True)
        yield f"registers manifest {number} as new", (registered, me._replace(at="file", name=number, pin=True))


def _flatten(rules: ManifestRules, store: Store, me: Coalescer) -> Iterator[tuple[str, Parts]]:
    number = me.name if me.name >= 0 else rules.new(store)
    if number is None or not store.readable(me.chain):
        yield "can't read the chain, gives up", (_given_up(store, me), Coalescer())
    else:
        row = "none" if me.name < 0 else store.manifests[number].row
        made = store.change(number, row=row, lists=store.chain(me.chain), file=True, locked=not rules.register)
        yield f"makes the file of manifest {number}, flat", (made, me._replace(at="swap", name=number))


def _to_swap(rules: ManifestRules, store: Store, me: Coalescer) -> Iterator[tuple[str, Parts]]:
    if store.manifests[me.name].locked and not rules.locked_until_commit:
        yield "lets the lock go", (store.change(me.name, locked=False), me)
    yield _swap(rules, store, me)


def _swap(rules: ManifestRules, store: Store, me: Coalescer) -> tuple[str, Parts]:
    named = store.images[me.image]
    if rules.swap_compares and named != me.chain:
        return f"finds that image {me.image} has that manifest no more", (_given_up(store, me), Coalescer())
    if rules.register and rules.commit_needs_row and store.manifests[me.name].row != "new":
        return "finds its row gone", (store, Coalescer())
    live = store.change(me.name, row="live", locked=False, pinned=False)
    if named >= 0:
        live = live._replace(images=replaced_image(store, me.image, me.name))
    words = f"commits: image {me.image} has manifest {me.name} in place of {me.chain}"
    return words, (rules.let_go(live, me.chain), Coalescer())


def _given_up(store: Store, me: Coalescer) -> Store:
    return store if me.name < 0 else store.change(me.name, locked=False, pinned=False)


_WRITE = {
    "idle": _begin,
    "read": _read,
    "store": _store,
    "register": _register,
    "file": _file,
    "lock": _lock,
    "commit": _to_commit,
}
_COALESCE = {
    "idle": _choose,
    "register": _register_flat,
    "file": _flatten,
    "swap": _to_swap,
}
