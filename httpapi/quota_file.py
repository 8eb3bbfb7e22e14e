"""The file of quotas: what an operator writes down about all projects and about single ones.

    [default]
    images = 1000
    bytes = "2TiB"

    [projects.lab]
    bytes = "unlimited"

The catalog goes before it (`catalog/README.md`, "Limits and quotas"), so `drystone admin quota` needs no restart.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final

from catalog.limits import can_be_stored
from catalog.model.quota import NAMES, UNLIMITED, Quota
from catalog.quota_ports import Said
from httpapi import setting_values as values
from httpapi.rules_file import read_rules_file
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST: Final = 1 << 59
"""The largest bound: half an exbibyte."""

_UNLIMITED: Final = "unlimited"
_LONGEST: Final = 255


def quota_value(name: str, value: object) -> int:
    """A bound as somebody writes it: bytes with a unit, numbers without, or `unlimited`. Raises ValueError."""
    if str(value).strip().lower() in {_UNLIMITED, str(UNLIMITED)}:
        return UNLIMITED
    if not name.endswith("bytes"):
        return values.count(0, 999_999_999)(value)
    found = values.size(value)
    if found > MOST:
        raise ValueError(f"expected at most {MOST} bytes, not {found}.")
    return found


def shown_quota(name: str, bound: int | None) -> str:
    """A bound as it would be written in the file; nothing for None."""
    if bound is None:
        return ""
    if bound < 0:
        return _UNLIMITED
    if name.endswith("bytes"):
        for unit, size in reversed(values.UNITS.items()):
            if size > 1 and bound and bound % size == 0:
                return f"{bound // size}{unit[:-2].upper()}iB"
    return str(bound)


def load_quotas(path: Path | None) -> Said:
    """What the file says; nothing where there is none. Raises SettingsRefused with a sentence."""
    if path is None:
        return Said()
    text = read_rules_file("quota_file", path)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsRefused(f"The quota_file {path} is not TOML: {error}.") from error
    for name in document.keys() - {"default", "projects"}:
        raise SettingsRefused(f"The quota_file {path} has [{name}]; it has [default] and a [projects.NAME] for each.")
    projects = _table(path, "projects", document.get("projects", {}))
    for name in projects:
        if not name or len(name) > _LONGEST or not can_be_stored(name):
            raise SettingsRefused(f"The quota_file {path} has the project {name[:40]!r}: no project can be called so.")
    return Said(
        _quota(path, "default", document.get("default", {})),
        {name: _quota(path, f"projects.{name}", value) for name, value in projects.items()},
    )


def _table(path: Path, name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise SettingsRefused(f"{name} in {path} is {value!r}; it is a table, [{name}].")
    return value


def _quota(path: Path, name: str, value: object) -> Quota:
    said: dict[str, int] = {}
    for key, each in _table(path, name, value).items():
        if key not in NAMES:
            raise SettingsRefused(f"{key} in [{name}] of {path} is no quota: it is one of {', '.join(NAMES)}.")
        try:
            said[key] = quota_value(key, each)
        except ValueError as error:
            raise SettingsRefused(f'{key} in [{name}] of {path}: {error} Or write "{_UNLIMITED}".') from None
    return Quota(**said)
