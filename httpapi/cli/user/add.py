"""`drystone user add`: a new user, or a new password for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.passwords import ask_new_password
from httpapi.cli.user.files import Files, explained, file_options, files_of, text_of

if TYPE_CHECKING:
    from pathlib import Path

USUAL_PROJECT: Final = "default"
USUAL_ROLES: Final = ("member",)

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone user add alice --file htpasswd --project lab
  drystone user add root --file htpasswd --role admin
  drystone user add alice --file htpasswd --replace
  drystone user add robot --file htpasswd --role reader --password-stdin < secret
"""


@click.command(epilog=EXAMPLES)
@click.argument("name")
@file_options
@click.option("--project", metavar="P", help=f"The project whose images are theirs.  [default: {USUAL_PROJECT}]")
@click.option(
    "--role", "roles", metavar="R", multiple=True, help="reader, member or admin; may be repeated.  [default: member]"
)
@click.option("--replace", is_flag=True, help="The user exists: set the password anew, and what else is given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, not from the terminal.")
def add(
    name: str,
    *,
    passwords: Path | None,
    accounts: Path | None,
    config: Path | None,
    project: str | None,
    roles: tuple[str, ...],
    replace: bool,
    password_stdin: bool,
) -> None:
    """Make the user NAME, who may log in with the password that is asked for.

    Both files are made if they are missing, readable for you alone: a server that runs as another user must be
    given them (chown). For several projects, edit the file of accounts:
    projects = { lab = ["member"], ops = ["reader"] }
    """
    from httpapi.identity.htpasswd import name_fault

    if (fault := name_fault(name)) is not None:
        raise click.UsageError(fault)
    files = files_of(passwords, accounts, config)
    with explained():
        _refuse_mistakes(files, name, replace=replace)
    hashed = ask_new_password(name, from_stdin=password_stdin)
    with explained():
        _write(files, name, hashed, project, roles, replace=replace)
    click.echo(f"{name} may log in; the accounts are in {files.accounts}", err=True)


def _refuse_mistakes(files: Files, name: str, *, replace: bool) -> None:
    """Before the password is asked for: a name that is taken, or one that is not there to be replaced."""
    from httpapi.identity import htpasswd

    there = name in htpasswd.parse(text_of(files.passwords), str(files.passwords))
    if there and not replace:
        raise click.ClickException(f"{name} is in {files.passwords} already: --replace sets a new password")
    if replace and not there:
        raise click.ClickException(f"{name} is not in {files.passwords}: leave --replace out to make the user")


def _write(files: Files, name: str, hashed: str, project: str | None, roles: tuple[str, ...], *, replace: bool) -> None:
    from httpapi.identity import accounts, htpasswd
    from httpapi.identity.account_text import with_account
    from httpapi.private_file import locked_directory, write_private

    with locked_directory(files.passwords.parent):
        # Somebody else may have been quicker while the password was typed.
        _refuse_mistakes(files, name, replace=replace)
        text = text_of(files.accounts)
        known = accounts.parse(text, str(files.accounts)).get(name)
        if known is None or project is not None or roles:
            if known is not None and len(known.projects) > 1:
                raise click.ClickException(
                    f"{name} has several projects: edit users.{name} in {files.accounts}, and leave --project and "
                    "--role out to set the password alone"
                )
            chosen = project or (known.project if known else USUAL_PROJECT)
            held = known.projects.get(chosen, frozenset()) if known else frozenset()
            granted = {role.lower() for role in roles} or held or USUAL_ROLES
            # The account first: a password without one would be refused by a server that looks in between.
            write_private(files.accounts, with_account(text, str(files.accounts), name, chosen, granted))
        write_private(files.passwords, htpasswd.with_entry(text_of(files.passwords), name, hashed))
