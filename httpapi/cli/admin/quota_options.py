"""What the verbs of `drystone admin quota` share: whose quota, and how much."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def checked(project: str) -> str:
    """A name that a project can have."""
    from catalog.limits import Limits, can_be_stored

    if not project or len(project) > Limits().name_length or not can_be_stored(project):
        raise click.BadParameter("no project can be called so.", param_hint="PROJECT")
    return project


def _bound(_context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """A quota's bound, such as 3, 2TiB or unlimited."""
    from httpapi.quota_file import quota_value

    if text is None:
        return None
    try:
        return quota_value(parameter.name or "", text)
    except ValueError as error:
        raise click.BadParameter(f"{error} Or say unlimited.") from error


def bounds(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each quota that takes its bound."""
    for name in ("staged_bytes", "uploads", "bytes", "images"):
        metavar = "SIZE" if name.endswith("bytes") else "N"
        command = click.option(
            "--" + name.replace("_", "-"), metavar=metavar, callback=_bound, help=f"{metavar}, or unlimited."
        )(command)
    return command


def whose(command: Callable[..., None]) -> Callable[..., None]:
    """A project, or all others; the command gets its name, or None."""

    @click.argument("project", required=False)
    @click.option("--default", "others", is_flag=True, help="Of all projects of which nothing else is said.")
    @functools.wraps(command)
    # click hands over whatever options the verb declares.
    def named(*, project: str | None, others: bool, **values: Any) -> None:  # noqa: ANN401 - values of any option type
        if (project is None) is not others:
            raise click.UsageError("Name a project, or say --default for all of which nothing else is said.")
        command(project=None if project is None else checked(project), **values)

    return named
