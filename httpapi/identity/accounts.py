"""The file of accounts: to which projects a user belongs, and with which roles. TOML, beside the file of passwords.

    [users.alice]
    project = "lab"
    roles = ["member"]

    [users.bob]
    projects = { lab = ["reader"], ops = ["member", "admin"] }
    project = "ops"

With `projects`, `project` says which one a request means that names none; else that is the first.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.identity.htpasswd import UserFileRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLE: Final = '[users.alice] with project = "lab" and roles = ["member"]'


@dataclass(frozen=True, slots=True)
class Account:
    """A user's projects, each with the lower-case names of the roles held there; `project` is the usual one."""

    project: str
    projects: Mapping[str, frozenset[str]]


def parse(text: str, place: str) -> Mapping[str, Account]:
    """Name → account. `place` is the file's name, for messages; raises UserFileRefused."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserFileRefused(f"{place} is not TOML: {error}.") from error
    users = document.pop("users", {})
    if document or not isinstance(users, dict):
        raise UserFileRefused(f"{place}: expected tables such as {_EXAMPLE}, and nothing else.")
    return {name: _account(entry, f"{place}: users.{name}") for name, entry in users.items()}


def _account(entry: object, where: str) -> Account:
    if not isinstance(entry, dict) or not entry.keys() <= {"project", "roles", "projects"}:
        raise UserFileRefused(f"{where}: expected project and roles, or projects, as in {_EXAMPLE}.")
    usual = _text(entry["project"], where) if "project" in entry else None
    if "projects" not in entry:
        if usual is None or "roles" not in entry:
            raise UserFileRefused(f"{where}: expected both project and roles, as in {_EXAMPLE}.")
        return Account(usual, {usual: _roles(entry["roles"], where)})
    if "roles" in entry:
        raise UserFileRefused(f"{where}: each project in projects has its roles; take the other roles out.")
    projects = _projects(entry["projects"], where)
    if usual is not None and usual not in projects:
        raise UserFileRefused(f"{where}: project {usual!r} is not among projects.")
    return Account(usual or next(iter(projects)), projects)


def _projects(value: object, where: str) -> Mapping[str, frozenset[str]]:
    if not isinstance(value, dict) or not value:
        raise UserFileRefused(f'{where}: expected projects such as {{ lab = ["member"], ops = ["reader"] }}.')
    return {_text(project, where): _roles(roles, where) for project, roles in value.items()}


def _roles(value: object, where: str) -> frozenset[str]:
    if not isinstance(value, list):
        raise UserFileRefused(f'{where}: expected roles as a list such as ["member"].')
    return frozenset(_text(role, where).lower() for role in value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise UserFileRefused(f"{where}: expected a text that is not empty, not {value!r}.")
    return value.strip()
