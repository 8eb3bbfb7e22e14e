"""`drystone user rm`: a user who may log in no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.user.files import explained, file_options, files_of, text_of

if TYPE_CHECKING:
    from pathlib import Path

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone user rm alice --file htpasswd
"""


@click.command(epilog=EXAMPLES)
@click.argument("name")
@file_options
def rm(name: str, *, passwords: Path | None, accounts: Path | None, config: Path | None) -> None:
    """Remove the user NAME from both files. The images stay: they belong to the project."""
    from httpapi.identity import accounts as account_file
    from httpapi.identity import htpasswd
    from httpapi.identity.account_text import without_account
    from httpapi.private_file import locked_directory, write_private

    files = files_of(passwords, accounts, config)
    with explained(), locked_directory(files.passwords.parent):
        text, listed = text_of(files.accounts), text_of(files.passwords)
        has_account = name in account_file.parse(text, str(files.accounts))
        # Not parsed: a line that the server refuses can be removed too.
        if name in htpasswd.names(listed):
            # The password first: an account alone lets nobody in.
            write_private(files.passwords, htpasswd.without_entry(listed, name))
        elif not has_account:
            raise click.ClickException(f"{name} is not in {files.passwords}: `drystone user ls` lists who is")
        if has_account:
            write_private(files.accounts, without_account(text, str(files.accounts), name))
    click.echo(f"{name} may log in no more", err=True)
