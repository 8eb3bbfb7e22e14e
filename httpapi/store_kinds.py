"""The types of stores that a `stores_file` may name: what the table of each may and must say, and what it makes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from catalog.model.errors import AddressRefused
from catalog.stores.opaque import OpaqueStore
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.outgoing.urls import read_url
from httpapi import setting_values as values
from httpapi.far_options import S3_OPTIONS, SWIFT_OPTIONS
from httpapi.rules_file import read_rules_file
from httpapi.setting_values import Secret
from httpapi.settings import SettingsRefused, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from catalog.store_ports import Store, StoreInfo

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}", re.ASCII)
_MODES: Final = {"owner": 0o600, "group": 0o640, "all": 0o644}
WAY_OUT: Final = "way out"
_OURS: Final = frozenset({"blocks", "file", "http", "https", "s3", "swift"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One type: how each value of its table is read, which ones must be there, and how a store is made of them.

    `build` is given the values that were said, each by its reader, and the process's `WAY_OUT`. It opens nothing, asks
    nothing, and raises ValueError with a sentence about values that do not go together.
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


def directory(value: object) -> Path:
    """An absolute path, written without detours."""
    found = Path(os.path.normpath(values.path(value)))
    if not found.is_absolute() or found == found.parent or "\0" in str(found):
        raise ValueError(f"expected an absolute path of a directory, such as /mnt/fast/images, not {value!r}.")
    return found


def url_prefix(value: object) -> str:
    """What URLs begin with: as they are read themselves."""
    try:
        return str(read_url(values.url(value)))
    except AddressRefused as refusal:
        raise ValueError(str(refusal)) from None


def _file(info: StoreInfo, said: Mapping[str, object]) -> Store:
    from catalog.stores.file import TIME_OUT, FileStore
    from catalog.stores.file_place import FilePlace

    there, mount_point, seconds = said["directory"], said.get("mount_point"), said.get("time_out", TIME_OUT)
    assert isinstance(there, Path)
    assert mount_point is None or isinstance(mount_point, Path)
    assert isinstance(seconds, float)
    if mount_point is not None and not there.is_relative_to(mount_point):
        raise ValueError(f"directory {there} does not lie below mount_point {mount_point}.")
    place = FilePlace(there, mount_point, mode=_MODES[str(said.get("readable_by", "owner"))])
    return FileStore(info, place, seconds=seconds)


def _http(info: StoreInfo, said: Mapping[str, object]) -> Store:
    from catalog.stores.http import HttpStore

    prefix, outgoing = said.get("url_prefix"), said[WAY_OUT]
    assert isinstance(outgoing, Outgoing)
    assert prefix is None or isinstance(prefix, str)
    told = {} if prefix is None else {"url_prefix": prefix}
    return HttpStore(replace(info, read_only=True, properties=told), outgoing, url_prefix=prefix)


def _s3(info: StoreInfo, said: Mapping[str, object]) -> Store:
    from httpapi.far_stores import s3_store

    return s3_store(info, said)


def _swift(info: StoreInfo, said: Mapping[str, object]) -> Store:
    from httpapi.far_stores import swift_store

    return swift_store(info, said)


KINDS: Final[Mapping[str, Kind]] = {
    "file": Kind(
        {
            "directory": directory,
            "mount_point": directory,
            "readable_by": values.one_of(*_MODES),
            "time_out": values.seconds,
        },
        frozenset({"directory"}),
        _file,
    ),
    "http": Kind({"url_prefix": url_prefix}, frozenset(), _http),
    "opaque": Kind({"schemes": schemes}, frozenset({"schemes"}), _opaque),
    "s3": Kind(S3_OPTIONS, frozenset({"bucket"}), _s3),
    "swift": Kind(SWIFT_OPTIONS, frozenset({"container", "auth_url"}), _swift),
}
"""By the word that a table's `type` is."""
