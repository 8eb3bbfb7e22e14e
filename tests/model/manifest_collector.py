"""Who removes manifests, in the model of them: what is retired, and files that nobody is going to name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.model.manifests import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.explore import Parts
    from tests.model.manifests import ManifestRules, Store

_HAS_ROW = frozenset({"new", "live", "retired"})


class Collector(NamedTuple):
    """`known`: the names that the catalog had when it was read too early, as bits."""

    at: str = "idle"
    name: int = NOBODY
    known: int = 0


def collect(rules: ManifestRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    yield from _STEPS[me.at](rules, store, me)


def _idle(rules: ManifestRules, store: Store, _: Collector) -> Iterator[tuple[str, Parts]]:
    yield from _retired(rules, store)
    yield from _files(rules, store)


def _unlink(_: ManifestRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    yield f"unlinks manifest {me.name}", (store.change(me.name, file=False, lists=0), Collector("row", me.name))


def _row(_: ManifestRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    yield f"removes the row of manifest {me.name}", (store.change(me.name, row="gone"), Collector())


def _list(_: ManifestRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    for at, manifest in enumerate(store.manifests):
        if manifest.file and not me.known >> at & 1:
            words = f"lists the file of manifest {at}, which had no row, and unlinks it"
            yield words, (store.change(at, file=False), Collector())


def _lock(_: ManifestRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    manifest = store.manifests[me.name]
    if manifest.locked or not manifest.file:
        yield f"can't lock the file of manifest {me.name}", (store, Collector())
    else:
        locked = store.change(me.name, locked=True)
        yield f"locks the file of manifest {me.name}", (locked, me._replace(at="catalog"))


def _catalog(rules: ManifestRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    known = _rows(store) if rules.catalog_after_lock else me.known
    if known >> me.name & 1:
        yield f"finds a row of manifest {me.name}", (_unlocked(rules, store, me.name), Collector())
    else:
        yield f"finds no row of manifest {me.name}", (store, Collector("orphan", me.name))


def _orphan(rules: ManifestRules, store: Store, me: Collector) -> Iterator[tuple[str, Parts]]:
    gone = _unlocked(rules, store, me.name).change(me.name, file=False, lists=0)
    yield f"unlinks the file of manifest {me.name}", (gone, Collector())


def _retired(rules: ManifestRules, store: Store) -> Iterator[tuple[str, Parts]]:
    for number, manifest in enumerate(store.manifests):
        if manifest.row == "retired":
            yield f"finds manifest {number} retired", (store, Collector("unlink", number))
        if manifest.row == "new" and not manifest.pinned:
            retired = store.change(number, row="retired")
            yield f"retires manifest {number}, which is new and whose pin is gone", (retired, Collector())
        if manifest.doubted and not rules.retired_before_unlinked:
            yield f"finds that nothing names manifest {number}", (store, Collector("unlink", number))


def _files(rules: ManifestRules, store: Store) -> Iterator[tuple[str, Parts]]:
    """Files without a row."""
    rows = _rows(store)
    if rules.register and not rules.catalog_after_listing:
        yield "reads the catalog", (store, Collector("list", known=rows))
        return
    for number, manifest in enumerate(store.manifests):
        if manifest.file and not rows >> number & 1:
            known = 0 if rules.catalog_after_lock else rows
            then = Collector("catalog" if rules.register else "lock", number, known)
            yield f"lists the file of manifest {number}", (store, then)


def _unlocked(rules: ManifestRules, store: Store, name: int) -> Store:
    return store if rules.register else store.change(name, locked=False)


def _rows(store: Store) -> int:
    """The names that have a row."""
    return sum(1 << at for at, manifest in enumerate(store.manifests) if manifest.row in _HAS_ROW)


_STEPS = {
    "idle": _idle,
    "unlink": _unlink,
    "row": _row,
    "list": _list,
    "lock": _lock,
    "catalog": _catalog,
    "orphan": _orphan,
}
