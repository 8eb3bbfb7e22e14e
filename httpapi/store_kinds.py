"""The types of stores that a `stores_file` may name: what the table of each may and must say, and what it makes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from catalog.stores.opaque import OpaqueStore
from httpapi import setting_values as values
from httpapi.rules_file import read_rules_file
from httpapi.setting_values import Secret
from httpapi.settings import SettingsRefused, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from catalog.store_ports import Store, StoreInfo

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}", re.ASCII)
_OURS: Final = frozenset({"blocks", "file", "http", "https"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One type: how each value of its table is read, which ones must be there, and how a store is made of them.

    `build` is given the values that were said, each by its reader. It opens and asks nothing; it raises ValueError with
    a sentence about values that do not go together.
    """

    options: Mapping[str, values.Reader]
    required: frozenset[str]
    build: Callable[[StoreInfo, Mapping[str, object]], Store]


def secret(said: Mapping[str, object], name: str) -> Secret | None:
    """What stands in the file that `NAME_file` names, or in the variable of `NAME_env`; None where neither is said.

    An end of line behind it is not part of it. Raises ValueError.
    """
    path, key = said.get(f"{name}_file"), said.get(f"{name}_env")
    if path is not None and key is not None:
        raise ValueError(f"{name}_file and {name}_env are both there: one says it.")
    if path is not None:
        try:
            found: str | None = read_rules_file(f"{name}_file", values.path(path)).rstrip("\r\n")
        except SettingsRefused as refusal:
            raise ValueError(str(refusal)) from None
        if not found:
            raise ValueError(f"{name}_file {path} is empty.")
        return Secret(found)
    if key is not None:
        found = variable(str(key))
        if not found:
            raise ValueError(f"{name}_env names the variable {key}, which is not set in this environment.")
        return Secret(found)
    return None


def schemes(value: object) -> frozenset[str]:
    """Schemes of URLs, as a list."""
    words = value if isinstance(value, list) else None
    if not words or not all(isinstance(word, str) and _SCHEME.fullmatch(word) for word in words):
        raise ValueError(f'expected schemes in small letters, such as ["rbd", "cinder"], not {value!r}.')
    if taken := sorted(_OURS.intersection(words)):
        raise ValueError(f"{', '.join(taken)} cannot be opaque: there are stores for it.")
    return frozenset(words)


def _opaque(info: StoreInfo, said: Mapping[str, object]) -> Store:
    named = said["schemes"]
    assert isinstance(named, frozenset)
    told = {"schemes": ", ".join(sorted(named))}
    return OpaqueStore(replace(info, read_only=True, properties=told), named)


KINDS: Final[Mapping[str, Kind]] = {
    "opaque": Kind({"schemes": schemes}, frozenset({"schemes"}), _opaque),
}
"""By the word that a table's `type` is."""
