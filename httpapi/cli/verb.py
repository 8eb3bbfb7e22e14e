"""What all client verbs share: their common options, the connection, and how they end on a signal."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from httpapi.cli.output import is_utf8, printable
from httpapi.client.quick_loading import load_aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from httpapi.cli.endpoint import Asked
    from httpapi.client.api import ImagesApi
    from httpapi.client.auth import Access, TokenLogin

T = TypeVar("T")
_SWITCH_SECONDS: Final = 0.0005


@dataclass(frozen=True, slots=True)
class Choices:
    """What the common options, before or after the verb, came to."""

    access: Access
    json: bool
    quiet: bool
    asked: Asked | None = None

    @property
    def endpoint(self) -> str:
        """The service's address, with or without /v2."""
        return self.access.endpoint

    @property
    def project(self) -> str | None:
        """The caller's own project's id, if it is known."""
        return self.access.project


_TRUST: Final = (
    click.option("--insecure", is_flag=True, help="Send the password without TLS, beyond this machine too."),
    click.option(
        "--cacert",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Authorities (PEM) that the service's certificate must come from.  [default: $DRYSTONE_CACERT]",
    ),
)


def trust_options(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a click command --cacert and --insecure."""
    for option in _TRUST:
        command = option(command)
    return command


def common_options(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a click command the options that say where the service is, and how results look."""
    for option in (
        click.option("--verbose", "-v", is_flag=True, help="Say which service is asked, as whom, and why."),
        click.option("--quiet", "-q", is_flag=True, help="No progress bar; ids and paths only."),
        click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output."),
        *_TRUST,
        click.option("--os-cloud", metavar="NAME", help="An entry of clouds.yaml.  [default: $OS_CLOUD]"),
        click.option(
            "--endpoint", metavar="URL", help="The service's address.  [default: $DRYSTONE_ENDPOINT, or your login's]"
        ),
    ):
        command = option(command)
    return command


def client_verb(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the common options; `function` gets them as its first argument, a Choices."""

    @functools.wraps(function)
    def loaded(choices: Choices, **values: Any) -> None:  # noqa: ANN401 - values of any option type
        load_aiohttp()
        function(choices, **values)

    return waiting_verb(loaded)


def waiting_verb(function: Callable[..., None]) -> Callable[..., None]:
    """As `client_verb`, for one that may be done without aiohttp: it is loaded by `run`, if that is called."""

    @common_options
    @click.pass_context
    @functools.wraps(function)
    # click hands over whatever options the verb declares.
    def command(context: click.Context, /, **values: Any) -> None:  # noqa: ANN401 - values of any option type
        before = context.obj or {}
        _refuse_other_encodings(values)
        verbose = values.pop("verbose") or before.get("verbose", False)
        asked = asked_of(values, before)
        access = _find(asked)
        choices = Choices(
            asked=asked,
            access=access,
            json=values.pop("as_json") or before.get("as_json", False),
            quiet=values.pop("quiet") or before.get("quiet", False),
        )
        _tell(access, verbose=verbose, quiet=choices.quiet)
        function(choices, **values)

    return command


def asked_of(values: dict[str, Any], before: dict[str, Any]) -> Asked:
    """What the common options of a verb say of the service, and those before it; taken out of `values`."""
    from httpapi.cli.endpoint import Asked

    given = {
        name: values.pop(name, None) or before.get(name) for name in ("endpoint", "os_cloud", "cacert", "insecure")
    }
    return Asked(given["endpoint"], given["os_cloud"], given["cacert"], bool(given["insecure"]))


def _find(asked: Asked) -> Access:
    from httpapi.cli.endpoint import find_access

    access = find_access(asked)
    access.check()
    return access


def _tell(access: Access, *, verbose: bool, quiet: bool) -> None:
    """Notes on standard error: what was asked for, and what the user should know."""
    from httpapi.client.auth import place_of

    place = printable(place_of(access.endpoint))
    if verbose:
        who = f" as {access.login.user}" if access.login else " without a login"
        project = f", project {access.project}" if access.project else ""
        click.echo(f"drystone: asking {place}{printable(who + project)} ({printable(access.source)})", err=True)
    if access.in_the_clear and not quiet:
        click.echo(f"drystone: the login goes to {place} without TLS: others on the way can read it", err=True)


def _refuse_other_encodings(values: dict[str, Any]) -> None:
    """UsageError for a text that could not be sent; a file's name is the file system's own matter."""
    for name, value in values.items():
        for text in value if isinstance(value, tuple) else (value,):
            if name != "file" and isinstance(text, str) and not is_utf8(text):
                raise click.UsageError(f"{text!r} is not valid UTF-8, and the service takes no other text")


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """What is done in here without a loop ends on SIGTERM, and on SIGHUP, as on Ctrl-C."""
    import signal

    from httpapi.cli.hanging_up import Hangup, is_heeded

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    if is_heeded():
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, Hangup(interrupt))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _log_in_again(choices: Choices, refused: Access) -> Access | None:
    """Another login for the same service: one that was kept since, or a password from a person at the terminal."""
    import sys
    from dataclasses import replace

    from httpapi.client.auth import Login, TokenLogin, place_of
    from httpapi.client.lane import Lane

    login, asked = refused.login, choices.asked
    if login is None or asked is None:
        return None
    if isinstance(login, TokenLogin):
        return await _new_token(refused, login, asked)
    found = _find(asked)
    if found.login is not None and found.login != login and place_of(found.endpoint) == place_of(choices.endpoint):
        return found
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return None
    user, place = printable(login.user), printable(place_of(choices.endpoint))

    def ask() -> str:
        answer: str = click.prompt(f"The login was refused. Password of {user} at {place}", hide_input=True, err=True)
        return answer

    # A lane, as an interruption must not wait for whoever should type.
    lane = Lane("password")
    try:
        return replace(refused, login=Login(login.user, await lane.submit(ask)))
    finally:
        lane.close(wait=False)


async def _new_token(refused: Access, login: TokenLogin, asked: Asked) -> Access | None:
    """The same access with a newer token; None if even a new one was refused, as the next one would be."""
    from dataclasses import replace

    from httpapi.client.auth import TokenLogin
    from httpapi.client.lane import Lane

    if not login.is_old:
        return None
    # Keystone may take its time, and what else goes on must not wait for it.
    lane = Lane("keystone")
    try:
        found = await lane.submit(lambda: _find(asked))
    finally:
        lane.close(wait=False)
    return replace(refused, login=found.login) if isinstance(found.login, TokenLogin) else None


def run(choices: Choices, step: Callable[[ImagesApi], Awaitable[T]]) -> T:
    """Runs `step` with a connection to the service.

    An interruption (Ctrl-C, SIGTERM, SIGHUP) cancels it, so that it can clean up, and becomes a KeyboardInterrupt.
    """
    import asyncio
    import signal
    import sys

    load_aiohttp()
    from httpapi.cli.hanging_up import Hangup, is_heeded
    from httpapi.client.api import ImagesApi

    # Hashing, writing and the network share the interpreter's lock; Python's own 5 ms make them wait for each other.
    sys.setswitchinterval(_SWITCH_SECONDS)

    async def connected() -> T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        if is_heeded():
            loop.add_signal_handler(signal.SIGHUP, Hangup(task.cancel))
        async with ImagesApi(choices.access, renew=functools.partial(_log_in_again, choices)) as api:
            return await step(api)

    try:
        return asyncio.run(connected())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
