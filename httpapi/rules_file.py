"""Reading a file of rules or quotas that an operator wrote: what names it, and what is said when it can't be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from pathlib import Path

LARGEST: Final = 1 << 20
"""Bytes; what is larger is no file of rules, and may be a device that never ends."""


def read_rules_file(setting: str, path: Path) -> str:
    """The text of the file that `setting` names. Raises SettingsRefused, which names both."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise SettingsRefused(f"{setting} {path} cannot be read: {error.strerror}.") from None
    if len(data) > LARGEST:
        raise SettingsRefused(f"{setting} {path} is larger than {LARGEST} bytes, and hardly what is meant.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SettingsRefused(f"{setting} {path} is not UTF-8.") from None
