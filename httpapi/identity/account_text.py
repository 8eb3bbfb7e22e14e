"""Changes to the file of accounts that leave everything else in it, comments too, as somebody wrote it.

The text is changed by lines and then read again: it must be what was there, and the change, and nothing else. What
cannot be changed so (a user written as `alice = {...}`, say) is refused, and the file stays as it is.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from httpapi.identity import accounts
from httpapi.identity.htpasswd import UserFileRefused
from httpapi.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterable


def with_account(text: str, place: str, name: str, project: str, roles: Iterable[str]) -> str:
    """The text with this user's account, in one project, new or in place of the old one; raises UserFileRefused."""
    wanted = dict(accounts.parse(text, place))
    wanted[name] = accounts.Account(project, {project: frozenset(roles)})
    kept = without_account(text, place, name).rstrip("\n")
    entry = (
        f"[users.{toml_text(name)}]\n"
        f"project = {toml_text(project)}\n"
        f"roles = [{', '.join(toml_text(role) for role in sorted(roles))}]\n"
    )
    new = f"{kept}\n\n{entry}" if kept else entry
    return _checked(new, place, name, wanted)


def without_account(text: str, place: str, name: str) -> str:
    """The text without this user's tables; raises UserFileRefused."""
    wanted = dict(accounts.parse(text, place))
    wanted.pop(name, None)
    kept: list[str] = []
    above: list[str] = []
    inside = False
    for line in text.splitlines():
        if (path := _header(line)) is not None:
            inside = path[:2] == ("users", name)
            # Comments just above another table are that one's.
            kept += [] if inside else above
            above = []
        if not inside:
            kept.append(line)
        elif line.lstrip().startswith("#"):
            above.append(line)
        else:
            above = []
    return _checked("".join(f"{line}\n" for line in kept), place, name, wanted)


def _header(line: str) -> tuple[str, ...] | None:
    """The path of a table's header such as `[users.alice]`; None for any other line."""
    if not line.lstrip().startswith("["):
        return None
    try:
        table = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while table:
        ((key, table),) = table.items()
        path.append(key)
    return tuple(path)


def _checked(text: str, place: str, name: str, wanted: dict[str, accounts.Account]) -> str:
    try:
        found = accounts.parse(text, place)
    except UserFileRefused:
        found = {}
    if found != wanted:
        raise UserFileRefused(
            f"{place} is written in a way that only a person can change without harm: edit users.{name} there by hand."
        )
    return text
