"""The file of passwords, as Apache's `htpasswd -B` writes it: one `NAME:HASH` a line, bcrypt hashes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httpapi.identity.passwords import HIGHEST_COST, cost_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_NAME: Final = 255


class UserFileRefused(Exception):
    """A file of users cannot be used; the message names file, line and user, and says what to do. Never a hash."""


def parse(text: str, place: str) -> Mapping[str, str]:
    """Name → bcrypt hash. `place` is the file's name, for messages; raises UserFileRefused."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not _is_entry(line):
            continue
        name, colon, entry = line.strip().partition(":")
        where = f"{place}, line {number}"
        if not colon or not name:
            raise UserFileRefused(f"{where}: expected NAME:HASH, as `htpasswd -B {place} NAME` writes it.")
        if (reason := name_fault(name)) is not None:
            raise UserFileRefused(f"{where}: {reason}.")
        if name in found:
            raise UserFileRefused(f"{where}: {name} stands in the file twice: remove one of the lines.")
        _check(entry, name, where, place)
        found[name] = entry
    return found


def names(text: str) -> frozenset[str]:
    """The names that have a line, whatever else stands in it."""
    return frozenset(name for line in text.splitlines() if (name := _name_in(line)) is not None)


def with_entry(text: str, name: str, entry: str) -> str:
    """The file's text with this user's line new or replaced; all other lines, comments too, stay as they are."""
    lines = list(without_entry(text, name).splitlines())
    return _joined([*lines, f"{name}:{entry}"])


def without_entry(text: str, name: str) -> str:
    """The file's text without this user's line."""
    return _joined(line for line in text.splitlines() if _name_in(line) != name)


def name_fault(name: str) -> str | None:
    """Why `name` cannot be a user's name, without a full stop; None if it can."""
    if not name or ":" in name:
        return f"{name!r} is no user's name: it must not be empty or hold a colon"
    if not name.isprintable() or name != name.strip() or name.startswith("#"):
        return f"{name!r} is no user's name: no control characters, no space at either end, no # in front"
    if len(name.encode()) > LONGEST_NAME:
        return f"a user's name has at most {LONGEST_NAME} bytes, and {name[:20]!r}… has more"
    return None


def _is_entry(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _name_in(line: str) -> str | None:
    return line.strip().partition(":")[0] if _is_entry(line) else None


def _check(entry: str, name: str, where: str, place: str) -> None:
    cost = cost_of(entry)
    if cost is None:
        raise UserFileRefused(
            f"{where}: the password of {name} is not hashed with bcrypt: set it anew with "
            f"`htpasswd -B -C 12 {place} {name}` or `drystone user add {name} --replace --file {place}`."
        )
    if cost > HIGHEST_COST:
        raise UserFileRefused(
            f"{where}: the password of {name} has bcrypt's cost {cost}, so that each check takes "
            f"{2 ** (cost - 12) // 4} s or more: set it anew with `htpasswd -B -C 12 {place} {name}`."
        )


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
