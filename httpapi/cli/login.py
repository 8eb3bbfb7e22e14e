"""`drystone login`: keep a service's address and a login for the verbs that follow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from httpapi.cli.output import printable
from httpapi.cli.passwords import ask_password
from httpapi.cli.verb import Choices, asked_of, run, trust_options

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.auth import Access

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone login https://images.example.org
  drystone login https://images.example.org --user alice --project lab
  drystone login https://images.example.org --user robot --password-stdin < secret
  drystone login --show

\b
Where a verb finds the service and the login; the first that is there counts:
  1. --endpoint or --os-cloud
  2. DRYSTONE_ENDPOINT, DRYSTONE_USER and DRYSTONE_PASSWORD
  3. OS_CLOUD: clouds.yaml in ., ~/.config/openstack or /etc/openstack, with
     auth_type none or http_basic
  4. OS_ENDPOINT, with OS_AUTH_TYPE http_basic also OS_USERNAME, OS_PASSWORD
  5. the login that this verb keeps
  6. http://127.0.0.1:9292, without a login
An address of 1 or 2 without a login uses the one that is kept for that address.
DRYSTONE_PROJECT, DRYSTONE_CACERT and OS_CACERT add to each of them.
"""


@click.command(epilog=EXAMPLES)
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@click.option("--user", metavar="U", help="Your name there; asked for if it is not given.")
@click.option("--project", metavar="P", help="Work in this project; without it in your usual one.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, not from the terminal.")
@click.option("--show", is_flag=True, help="Show what the verbs use now, and where it comes from; no password.")
@click.option("--json", "as_json", is_flag=True, help="With --show: as JSON.")
@trust_options
@click.pass_context
def login(
    context: click.Context,
    /,
    *,
    endpoint: str | None,
    user: str | None,
    project: str | None,
    password_stdin: bool,
    show: bool,
    as_json: bool,
    **values: Any,  # noqa: ANN401 - values of any option type
) -> None:
    """Log in to the service at ENDPOINT, and keep the login for the other verbs.

    The password is asked for without an echo and tried at the service. It is kept in credentials.toml below
    ~/.config/drystone, readable for you alone, until `drystone logout`. The services that you logged in to before
    stay known for --endpoint; the last one is what the verbs use. A service without identity is kept without a login.
    """
    from httpapi.cli.endpoint import find_access

    before = context.obj or {}
    asked = asked_of({"endpoint": endpoint, **values}, before)
    if show:
        _show(find_access(asked), as_json=as_json or before.get("as_json", False))
        return
    _log_in(_unlocked(find_access(asked)), user, project, from_stdin=password_stdin)


def _unlocked(access: Access) -> Access:
    """The address, without whatever login was known for it."""
    from httpapi.client.auth import place_of

    return replace(access, endpoint=place_of(access.endpoint), login=None, project=None)


def _log_in(access: Access, user: str | None, project: str | None, *, from_stdin: bool) -> None:
    from httpapi.cli.endpoint import credentials_path
    from httpapi.client.auth import Login
    from httpapi.client.auth_store import keep_login

    place = printable(access.endpoint)
    path = credentials_path()
    if _takes_everybody(access):
        if user is not None:
            raise click.ClickException(f"{place} asks nobody for a login: leave --user out to keep its address")
        keep_login(path, replace(access, project=project))
        click.echo(f"{place} asks for no login; it is what the verbs use from now on", err=True)
        return
    # Before anybody types a password that could then not be sent.
    replace(access, login=Login("", "")).check()
    name = user or _ask_user()
    if ":" in name:
        raise click.UsageError(f"{name!r} is no user's name: it must not hold a colon")
    found = Login(name, ask_password(f"Password of {printable(name)} at {place}", from_stdin=from_stdin))
    full = replace(access, login=found, project=project)
    _try(full)
    keep_login(path, replace(full, cacert=None if full.cacert is None else full.cacert.absolute()))
    click.echo(f"{printable(name)} is logged in to {place}; the login is kept in {printable(path)}", err=True)


def _takes_everybody(access: Access) -> bool:
    """Whether the service answers without a login."""
    from httpapi.client.errors import KeystoneNeeded, LoginNeeded

    try:
        run(Choices(access, json=False, quiet=True), _look)
    except KeystoneNeeded:
        raise
    except LoginNeeded:
        return False
    return True


def _try(access: Access) -> None:
    from httpapi.client.errors import LoginNeeded

    try:
        run(Choices(access, json=False, quiet=True), _look)
    except LoginNeeded as refusal:
        raise click.ClickException(
            f"{printable(access.endpoint)} refuses the login: user or password is wrong; nothing is kept"
        ) from refusal


async def _look(api: ImagesApi) -> None:
    """The smallest request that only a known caller may make."""
    async for _ in api.list_images([("name", "eq:")]):
        break


def _ask_user() -> str:
    import sys

    from httpapi.cli.endpoint import user_name

    if not sys.stdin.isatty():
        raise click.ClickException("there is no terminal to ask for your name: give it with --user")
    answer: str = click.prompt("User", default=user_name(), err=True)
    return answer


def _show(access: Access, *, as_json: bool) -> None:
    from httpapi.cli.output import print_attributes, print_json
    from httpapi.client.auth import place_of

    attributes = {
        "endpoint": place_of(access.endpoint),
        "user": access.login.user if access.login else None,
        "project": access.project,
        "cacert": str(access.cacert) if access.cacert else None,
        "source": access.source,
    }
    if as_json:
        print_json(attributes)
    else:
        print_attributes(attributes)
