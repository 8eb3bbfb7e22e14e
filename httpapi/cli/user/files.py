"""Which files of users a verb means, and what goes wrong with them, as sentences."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Files:
    """The file of passwords and the file of accounts."""

    passwords: Path
    accounts: Path


def file_options(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a click command --file, --accounts and --config."""
    path: dict[str, Any] = {"type": click.Path(path_type=Path)}
    for option in (
        click.option(
            "--config", **path, help="The server's configuration, which names the files.  [also DRYSTONE_CONFIG]"
        ),
        click.option("--accounts", **path, help="The file of accounts.  [default: accounts.toml beside the passwords]"),
        click.option(
            "--file", "passwords", **path, help="The file of passwords.  [default: the setting identity_file]"
        ),
    ):
        command = option(command)
    return command


def files_of(passwords: Path | None, accounts: Path | None, config: Path | None) -> Files:
    """The files that the options name, or else the server's settings; UsageError when neither does."""
    from httpapi.identity.users import accounts_beside
    from httpapi.settings import SettingsRefused, load

    if passwords is None:
        try:
            settings = load(config=config)
        except SettingsRefused as refusal:
            raise click.ClickException(str(refusal)) from refusal
        passwords, accounts = settings.identity_file, accounts or settings.identity_accounts
    if passwords is None:
        raise click.UsageError("which file of users? name it with --file, or with identity_file in --config")
    return Files(passwords, accounts_beside(passwords, accounts))


@contextmanager
def explained() -> Iterator[None]:
    """Around what reads or writes the files."""
    from httpapi.identity.htpasswd import UserFileRefused

    try:
        yield
    except UserFileRefused as refusal:
        raise click.ClickException(str(refusal)) from refusal


def text_of(path: Path) -> str:
    """A file's text; empty when there is none yet."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as failure:
        raise click.ClickException(f"{path} is not UTF-8: write it anew as such") from failure
