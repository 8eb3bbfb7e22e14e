"""The file of stores: which places may hold images' bytes beside our own blocks.

    [stores.fast]
    type = "file"
    directory = "/mnt/fast/images"
    mount_point = "/mnt/fast"
    weight = 100

It is read at start. What one type of store needs is said in `store_kinds.py`; what all have in common, here.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Final

from catalog.model.errors import StoreReadOnly
from catalog.model.location import OUR_STORE
from catalog.store_ports import StoreInfo
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.set import OUR_BLOCKS, StoreSet, blocks_alone
from httpapi import setting_values as values
from httpapi.rules_file import read_rules_file
from httpapi.settings import SettingsRefused
from httpapi.store_kinds import KINDS, WAY_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from catalog.store_ports import Store, Stores

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_HEAVIEST: Final = 1_000_000
_PROBE: Final = "00000000-0000-4000-8000-000000000000"


def load_stores(path: Path | None, outgoing: Outgoing | None = None) -> StoreSet:
    """The stores that the file names; our blocks alone where there is none. Nothing is asked or opened.

    `outgoing` is the way by which those that ask URLs of others do so.
    Raises SettingsRefused with all that is wrong with the file.
    """
    if path is None:
        return blocks_alone()
    where = f"stores_file {path}"
    try:
        document = tomllib.loads(read_rules_file("stores_file", path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsRefused(f"{where} is not TOML: {error}.") from error
    problems: list[str] = []
    stores, blocks = _all_of(document, outgoing or Outgoing(), problems)
    if not problems:
        problems += [*_defaults([blocks, *(store.info for store in stores)]), *_same_places(stores)]
    if problems:
        raise SettingsRefused.over(where, problems)
    if not any(store.info.default for store in stores):
        blocks = replace(blocks, default=True)
    return StoreSet(stores, blocks=blocks)


def beside_data(stores: Stores, data: Path) -> Iterator[str]:
    """A sentence for each store of files that shares the data directory, where only ours belongs."""
    root = Path(os.path.normpath(data.absolute()))
    for info in (each for each in stores.infos() if each.kind == "file"):
        directory = Path(str(info.properties["data_dir"]))
        if directory.is_relative_to(root) or root.is_relative_to(directory):
            yield f"[stores.{info.name}] keeps its files in {directory}, the data directory is {root}: keep them apart."


def odd_stores(stores: Stores) -> Iterator[str]:
    """A warning for each store that may not be what was meant. Nothing is looked at: a dead disk would hang."""
    for info in stores.infos():
        if info.kind == "file" and info.volatile and "mount_point" not in info.properties:
            yield (
                f"[stores.{info.name}] is volatile and has no mount_point: when its volume is not mounted, the "
                "directory below would be taken for an empty store."
            )


def directories_of(path: Path | None) -> Sequence[str]:
    """The directories of this machine that the file's stores write to: their volumes where those are named.

    As far as they can be read: nothing is said of what is wrong with the file, and no secret is asked for.
    """
    if path is None:
        return ()
    try:
        stores = tomllib.loads(read_rules_file("stores_file", path)).get("stores")
    except (SettingsRefused, tomllib.TOMLDecodeError, RecursionError):
        return ()
    tables = stores.values() if isinstance(stores, dict) else ()
    named = [table.get("mount_point", table.get("directory")) for table in tables if isinstance(table, dict)]
    return [each for each in dict.fromkeys(named) if isinstance(each, str) and each.startswith("/")]


def _all_of(document: Mapping[str, object], outgoing: Outgoing, problems: list[str]) -> tuple[list[Store], StoreInfo]:
    """The stores, as far as they can be made, and what is said of our blocks."""
    problems += [
        f"[{name}] is nothing known: there is a [stores.NAME] for each store." for name in document if name != "stores"
    ]
    stores: list[Store] = []
    blocks = replace(OUR_BLOCKS, default=False)
    tables = document.get("stores", {})
    if not isinstance(tables, dict):
        problems.append("stores is no table: there is a [stores.NAME] for each store.")
        return stores, blocks
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            problems.append(f"A store cannot be called {name[:80]!r}: up to 63 letters, digits, dots, - and _.")
        elif not isinstance(table, dict):
            problems.append(f"stores.{name} is no table, [stores.{name}].")
        elif name == OUR_STORE:
            blocks = _ours(table, problems) or blocks
        elif (store := _store(name, table, outgoing, problems)) is not None:
            stores.append(store)
    return stores, blocks


def _ours(table: Mapping[str, object], problems: list[str]) -> StoreInfo | None:
    said = _read(OUR_STORE, {"type": OUR_STORE, "description": OUR_BLOCKS.description, **table}, {}, problems)
    if said is None:
        return None
    if said["type"] != OUR_STORE:
        problems.append("[stores.blocks] is our own blocks, and of no other type: call the store otherwise.")
        return None
    return _info(OUR_STORE, OUR_STORE, said, default=bool(said.get("default", False)))


def _store(name: str, table: Mapping[str, object], outgoing: Outgoing, problems: list[str]) -> Store | None:
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        problems.append(f"[stores.{name}] has the type {kind!r}: it is one of {', '.join(KINDS)}.")
        return None
    said = _read(name, table, KINDS[kind].options, problems)
    if said is None:
        return None
    missing = sorted(KINDS[kind].required - said.keys())
    if missing:
        problems.append(f"[stores.{name}] lacks {', '.join(missing)}, without which a store of type {kind} is none.")
        return None
    given = {**said, WAY_OUT: outgoing}
    try:
        return KINDS[kind].build(_info(name, kind, said, default=bool(said.get("default", False))), given)
    except ValueError as error:
        problems.append(f"[stores.{name}]: {error}")
        return None


def _read(
    name: str, table: Mapping[str, object], options: Mapping[str, values.Reader], problems: list[str]
) -> dict[str, object] | None:
    """The values of a table; None when one of them cannot be used."""
    readers = {**_COMMON, **(options or {})}
    if name == OUR_STORE:
        readers.pop("volatile")
    said: dict[str, object] = {}
    before = len(problems)
    for key, value in table.items():
        if key not in readers:
            problems.append(f"{key} in [stores.{name}] is nothing known: it is one of {', '.join(readers)}.")
            continue
        try:
            said[key] = readers[key](value)
        except ValueError as error:
            problems.append(f"{key} in [stores.{name}]: {error}")
    return said if len(problems) == before else None


def _info(name: str, kind: str, said: Mapping[str, object], *, default: bool) -> StoreInfo:
    description, weight = said.get("description"), said.get("weight", 0)
    assert description is None or isinstance(description, str)
    assert isinstance(weight, int)
    volatile = bool(said.get("volatile", False))
    return StoreInfo(name, kind, description=description, weight=weight, default=default, volatile=volatile)


def _defaults(infos: Sequence[StoreInfo]) -> Iterator[str]:
    defaults = [info for info in infos if info.default]
    if len(defaults) > 1:
        yield f"{' and '.join(info.name for info in defaults)} are all the default: one can be."
    for info in defaults:
        if info.read_only:
            yield f"[stores.{info.name}] is the default, and nothing can be written to it."


def _same_places(stores: Sequence[Store]) -> Iterator[str]:
    """Two stores whose URLs could not be told apart would remove each other's copies."""
    for one, other in permutations(stores, 2):
        try:
            url = one.place(_PROBE)
        except StoreReadOnly:
            continue
        if other.owns(url):
            yield f"[stores.{one.info.name}] and [stores.{other.info.name}] are the same place: give each one its own."


def _weight(value: object) -> int:
    """A whole number; negative ones are asked last."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _HEAVIEST:
        raise ValueError(f"expected a whole number from -{_HEAVIEST} to {_HEAVIEST}, not {value!r}.")
    return value


_COMMON: Final[Mapping[str, values.Reader]] = {
    "type": values.text,
    "weight": _weight,
    "description": values.text,
    "default": values.switch,
    "volatile": values.switch,
}
