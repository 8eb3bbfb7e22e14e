"""`drystone user ls`: who may log in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.user.files import explained, file_options, files_of

if TYPE_CHECKING:
    from pathlib import Path

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone user ls --file htpasswd
  drystone user ls --config /etc/drystone/drystone.toml --json
"""


@click.command(epilog=EXAMPLES)
@file_options
@click.option("--json", "as_json", is_flag=True, help="A list of objects with name, project and projects.")
def ls(*, passwords: Path | None, accounts: Path | None, config: Path | None, as_json: bool) -> None:
    """List the users, each project on a line: name, project, roles; separated by tabs. The usual project comes first.

    It reads the files as the server does, and so tells what the server would refuse.
    """
    from httpapi.cli.output import print_json, print_lines
    from httpapi.identity.users import read

    files = files_of(passwords, accounts, config)
    with explained():
        users = read(files.passwords, files.accounts)
    found = [(name, users.accounts[name]) for name in sorted(users.hashes)]
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "project": account.project,
                    "projects": {project: sorted(roles) for project, roles in account.projects.items()},
                }
                for name, account in found
            ]
        )
        return
    print_lines(
        (name, project, ", ".join(sorted(roles)))
        for name, account in found
        for project, roles in sorted(account.projects.items(), key=lambda each: each[0] != account.project)
    )
