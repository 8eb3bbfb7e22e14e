"""The operator's file of rules for extra properties, read once at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.property_protection import Protection, ProtectionRefused, parse_protection
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from httpapi.settings import Settings

LARGEST: Final = 1 << 20


def protection_of(settings: Settings) -> Protection:
    """The protection that the settings name; none protects nothing. Raises SettingsRefused with all that is wrong."""
    path = settings.property_protection_file
    if path is None:
        return Protection()
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode()
    except OSError as error:
        raise SettingsRefused(f"property_protection_file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise SettingsRefused(f"property_protection_file {path} is not UTF-8.") from None
    if len(data) > LARGEST:
        raise SettingsRefused(f"property_protection_file {path} is larger than {LARGEST} bytes.")
    try:
        return parse_protection(text, by_policy=settings.property_protection_rule_format == "policies")
    except ProtectionRefused as refused:
        raise SettingsRefused.over(f"property_protection_file {path}", refused.problems) from None


def describe(settings: Settings, protection: Protection) -> str:
    """What is protected by what, in a few words."""
    number = len(protection.sections)
    if settings.property_protection_file is None:
        return "not protected"
    sections = "1 section" if number == 1 else f"{number} sections"
    return f"protected by {sections} of {settings.property_protection_rule_format}"
