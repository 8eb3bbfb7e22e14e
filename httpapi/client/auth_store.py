"""The logins that `drystone login` keeps: one file, its owner's alone, one login a service.

A login is used for its own address only, never for another service that happens to be asked.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from httpapi.client.auth import Access, Login, place_of
from httpapi.client.errors import AccessRefused
from httpapi.private_file import locked_directory, write_private
from httpapi.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = "# Written by `drystone login`; it holds passwords.\n"


@dataclass(frozen=True, slots=True)
class StoredLogins:
    """What the file holds: each service's access by its place, and which one is meant when none is named."""

    current: str | None = None
    logins: Mapping[str, Access] = field(default_factory=dict)

    def of(self, endpoint: str) -> Access | None:
        """The access to this very service."""
        return self.logins.get(place_of(endpoint))


def read_logins(path: Path) -> StoredLogins:
    """The file's logins, none if there is no file; raises AccessRefused when others may read it, or it is broken."""
    try:
        with path.open("rb") as file:
            _refuse_open(path, os.fstat(file.fileno()))
            document = tomllib.load(file)
    except FileNotFoundError:
        return StoredLogins()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise _broken(path) from failure
    except OSError as failure:
        raise AccessRefused(f"the stored login {path} cannot be read ({failure.strerror})") from failure
    entries, current = document.get("logins", {}), document.get("current")
    if not isinstance(entries, dict) or not isinstance(current, str | None):
        raise _broken(path)
    return StoredLogins(current, {place: _access(place, entry, path) for place, entry in entries.items()})


def keep_login(path: Path, access: Access) -> None:
    """Put this access into the file, as the one that is meant when none is named."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked_directory(path.parent):
        place = place_of(access.endpoint)
        write_private(path, _text(StoredLogins(place, {**read_logins(path).logins, place: access})))


def drop_logins(path: Path, endpoint: str | None) -> list[str]:
    """Take one service's login out of the file, or all of them (None); gives the places that were in it."""
    if not path.exists():
        return []
    with locked_directory(path.parent):
        if endpoint is None:
            # Whatever is in it: this must work for a file that cannot be read, too.
            places = _places_in(path)
            path.unlink(missing_ok=True)
            return places
        stored, place = read_logins(path), place_of(endpoint)
        if place not in stored.logins:
            return []
        rest = {each: access for each, access in stored.logins.items() if each != place}
        write_private(path, _text(StoredLogins(None if stored.current == place else stored.current, rest)))
        return [place]


def _places_in(path: Path) -> list[str]:
    try:
        return list(read_logins(path).logins)
    except AccessRefused:
        return [str(path)]


def _refuse_open(path: Path, found: os.stat_result) -> None:
    if found.st_mode & 0o077:
        raise AccessRefused(
            f"others can read the stored login: `chmod 600 {path}`, and change the password if they did"
        )
    if found.st_uid not in {os.geteuid(), 0}:
        raise AccessRefused(f"the stored login {path} belongs to another user: log in again after removing it")


def _access(place: str, entry: object, path: Path) -> Access:
    if not isinstance(entry, dict):
        raise _broken(path)
    texts = {name: entry.get(name) for name in ("user", "password", "project", "cacert")}
    if not all(isinstance(text, str | None) for text in texts.values()):
        raise _broken(path)
    user, password = texts["user"], texts["password"]
    return Access(
        endpoint=place,
        source=f"the login stored in {path}",
        login=None if user is None else Login(user, password or ""),
        project=texts["project"],
        cacert=None if texts["cacert"] is None else Path(texts["cacert"]),
        insecure=entry.get("insecure") is True,
    )


def _text(stored: StoredLogins) -> str:
    lines = [_HEAD]
    if stored.current is not None:
        lines.append(f"current = {toml_text(stored.current)}\n")
    for place, access in stored.logins.items():
        values = {
            "user": access.login.user if isinstance(access.login, Login) else None,
            "password": access.login.password if isinstance(access.login, Login) else None,
            "project": access.project,
            "cacert": str(access.cacert) if access.cacert else None,
        }
        lines.append(f"\n[logins.{toml_text(place)}]\n")
        lines += [f"{name} = {toml_text(text)}\n" for name, text in values.items() if text is not None]
        lines += ["insecure = true\n"] if access.insecure else []
    return "".join(lines)


def _broken(path: Path) -> AccessRefused:
    return AccessRefused(f"{path} is not what `drystone login` writes: `drystone logout --all` removes it")
