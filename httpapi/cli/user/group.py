"""`drystone user`: who may log in where the server runs with identity basic."""

from __future__ import annotations

from typing import Final

import click

from httpapi.cli.user.add import add
from httpapi.cli.user.ls import ls
from httpapi.cli.user.rm import rm

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone user add alice --file /etc/drystone/htpasswd --project lab
  drystone user add backup --project ops --role reader --password-stdin < secret
  drystone user ls --file /etc/drystone/htpasswd
  drystone user rm alice --file /etc/drystone/htpasswd
  drystone serve --identity basic --identity-file /etc/drystone/htpasswd
"""


@click.group(epilog=EXAMPLES)
def user() -> None:
    """Users of a server with identity basic: passwords in one file, projects and roles in another beside it.

    These verbs work on the files themselves, on the server's machine. A running server reads them again within a
    second. The file of passwords is Apache's htpasswd with bcrypt hashes, so `htpasswd -B` may change it as well.
    """


for _verb in (add, ls, rm):
    user.add_command(_verb)
