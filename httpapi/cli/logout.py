"""`drystone logout`: forget a login."""

from __future__ import annotations

from typing import Final

import click

from httpapi.cli.output import printable

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone logout
  drystone logout https://images.example.org
  drystone logout --all
"""


@click.command(epilog=EXAMPLES)
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@click.option("--all", "everything", is_flag=True, help="Forget every login.")
def logout(endpoint: str | None, *, everything: bool) -> None:
    """Forget the login for the service at ENDPOINT; without it, the one that the verbs use.

    The password goes out of the file; it stays valid at the service.
    """
    from httpapi.cli.endpoint import credentials_path
    from httpapi.client.auth_store import drop_logins, read_logins

    if everything and endpoint is not None:
        raise click.UsageError("ENDPOINT and --all contradict each other: give one of them")
    path = credentials_path()
    if not everything and endpoint is None:
        endpoint = read_logins(path).current
        if endpoint is None:
            raise click.ClickException("no login is in use; --all forgets those of other services")
    gone = drop_logins(path, None if everything else endpoint)
    if not gone:
        raise click.ClickException(f"no login is kept for {endpoint}" if endpoint else "no login is kept")
    for place in gone:
        click.echo(f"the login for {printable(place)} is forgotten", err=True)
