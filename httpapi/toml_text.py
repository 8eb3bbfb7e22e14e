"""A text as TOML writes it; the standard library reads TOML and writes none."""

from __future__ import annotations


def toml_text(value: str) -> str:
    """A basic string with its quotes, also good as a key; control characters, quotes and backslashes are escaped."""
    return '"' + "".join(_escaped(each) for each in value) + '"'


def _escaped(character: str) -> str:
    if character in {'"', "\\"}:
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08X}"
