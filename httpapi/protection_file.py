"""The operator's file of rules for extra properties, read once at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.property_protection import Protection, ProtectionRefused, parse_protection
from httpapi.rules_file import read_rules_file
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from httpapi.settings import Settings


def protection_of(settings: Settings) -> Protection:
    """The protection that the settings name; none protects nothing. Raises SettingsRefused with all that is wrong."""
    path = settings.property_protection_file
    if path is None:
        return Protection()
    text = read_rules_file("property_protection_file", path)
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
