"""Who may log in: both files of users, read again when they change. A broken new version does not lock anybody out."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from catalog.model.caller import Caller
from httpapi.identity import accounts, htpasswd
from httpapi.identity.htpasswd import UserFileRefused
from httpapi.identity.passwords import USUAL_COST, cost_of, nobodys_hash
from httpapi.wire.errors import ProjectRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from httpapi.identity.accounts import Account

_log = logging.getLogger("drystone.identity")
ACCOUNTS_NAME: Final = "accounts.toml"
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Users:
    """One reading of both files: each name's bcrypt hash and account, and a hash for those who do not exist."""

    hashes: Mapping[str, str]
    accounts: Mapping[str, Account]
    nobody: str

    def caller(self, name: str, project: str | None) -> Caller:
        """The caller that a user with the right password is, in the project asked for or the usual one.

        Raises ProjectRefused for a project in which the user has no account.
        """
        account = self.accounts[name]
        chosen = account.project if project is None else project.strip()
        if chosen not in account.projects:
            raise ProjectRefused(
                f"{name} has no part in the project {chosen[:80]!r}: "
                f"name one of {', '.join(account.projects)}, or none."
            )
        return Caller(name, chosen, account.projects[chosen])


class UserFiles:
    """Both files; `current` is what they hold now, or held before somebody broke them."""

    def __init__(self, passwords: Path, accounts_file: Path | None = None) -> None:
        """Reads both; raises UserFileRefused with a sentence for whoever starts the server."""
        self.passwords = passwords
        self.accounts = accounts_beside(passwords, accounts_file)
        self._seen = self._signature()
        self._users = read(self.passwords, self.accounts)
        self._looked = monotonic()

    def current(self) -> Users:
        """Who may log in now; the files are looked at once a second at most."""
        if monotonic() - self._looked >= LOOK_SECONDS:
            self.look()
        return self._users

    def look(self) -> None:
        """Read both files if either has changed; what cannot be read is logged, once, and changes nothing."""
        self._looked = monotonic()
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self._users = read(self.passwords, self.accounts)
        except UserFileRefused as refusal:
            _log.error("%s The users stay as they were before.", refusal)
        else:
            _log.info("The users were read again: %d from %s.", len(self._users.hashes), self.passwords)

    def _signature(self) -> tuple[object, ...]:
        return tuple(_stat_of(path) for path in (self.passwords, self.accounts))


def accounts_beside(passwords: Path, accounts_file: Path | None) -> Path:
    """Where the accounts are: in the file that was named, else in `accounts.toml` beside the passwords."""
    return accounts_file or passwords.with_name(ACCOUNTS_NAME)


def read(passwords: Path, accounts_file: Path) -> Users:
    """Both files as one; raises UserFileRefused, also for a user who has a password and no account."""
    hashes = htpasswd.parse(_text_of(passwords, "file of passwords"), str(passwords))
    known = accounts.parse(_text_of(accounts_file, "file of accounts"), str(accounts_file))
    for name in hashes:
        if name not in known:
            raise UserFileRefused(
                f"{name} has a password in {passwords} and no account in {accounts_file}: add [users.{name}] with "
                f"project and roles there, or run `drystone user rm {name} --file {passwords}`."
            )
    costs = Counter(cost_of(entry) or USUAL_COST for entry in hashes.values())
    usual = costs.most_common(1)[0][0] if costs else USUAL_COST
    return Users(hashes, known, nobodys_hash(usual))


def _text_of(path: Path, what: str) -> str:
    try:
        if path.stat().st_mode & 0o007:
            _log.warning("%s is open to everybody on this machine: `chmod o= %s` closes it.", path, path)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserFileRefused(
            f"The {what} {path} cannot be read ({error.strerror}): "
            f"`drystone user add NAME --file HTPASSWD` makes it with a first user."
        ) from error
    except UnicodeDecodeError as error:
        raise UserFileRefused(f"The {what} {path} is not UTF-8: write it anew as such.") from error


def _stat_of(path: Path) -> object:
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_mtime_ns, found.st_size
