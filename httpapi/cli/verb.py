"""What all client verbs share: their common options, the connection, and how they end on a signal."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from httpapi.cli.endpoint import USUAL_ENDPOINT, endpoint_from_environment, project_from_environment
from httpapi.cli.output import is_utf8

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpapi.client.api import ImagesApi

T = TypeVar("T")
_SWITCH_SECONDS: Final = 0.0005


@dataclass(frozen=True, slots=True)
class Choices:
    """What the common options, before or after the verb, came to."""

    endpoint: str
    project: str | None
    json: bool
    quiet: bool


def common_options(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a click command --endpoint, --json and --quiet."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="No progress bar; ids and paths only."),
        click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output."),
        click.option(
            "--endpoint",
            metavar="URL",
            help=f"The service's address. [default: $DRYSTONE_ENDPOINT or {USUAL_ENDPOINT}]",
        ),
    ):
        command = option(command)
    return command


def client_verb(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the common options; `function` gets them as its first argument, a Choices."""

    @common_options
    @click.pass_context
    @functools.wraps(function)
    # click hands over whatever options the verb declares.
    def command(context: click.Context, /, **values: Any) -> None:  # noqa: ANN401 - values of any option type
        before = context.obj or {}
        _refuse_other_encodings(values)
        choices = Choices(
            endpoint=values.pop("endpoint") or before.get("endpoint") or endpoint_from_environment(),
            project=project_from_environment(),
            json=values.pop("as_json") or before.get("as_json", False),
            quiet=values.pop("quiet") or before.get("quiet", False),
        )
        function(choices, **values)

    return command


def _refuse_other_encodings(values: dict[str, Any]) -> None:
    """UsageError for a text that could not be sent; a file's name is the file system's own matter."""
    for name, value in values.items():
        for text in value if isinstance(value, tuple) else (value,):
            if name != "file" and isinstance(text, str) and not is_utf8(text):
                raise click.UsageError(f"{text!r} is not valid UTF-8, and the service takes no other text")


def run(choices: Choices, step: Callable[[ImagesApi], Awaitable[T]]) -> T:
    """Runs `step` with a connection to the service.

    An interruption (Ctrl-C, SIGTERM) cancels it, so that it can clean up, and becomes a KeyboardInterrupt.
    """
    import asyncio
    import signal
    import sys

    from httpapi.client.api import ImagesApi

    # Hashing, writing and the network share the interpreter's lock; Python's own 5 ms make them wait for each other.
    sys.setswitchinterval(_SWITCH_SECONDS)

    async def connected() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with ImagesApi(choices.endpoint) as api:
            return await step(api)

    try:
        return asyncio.run(connected())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
