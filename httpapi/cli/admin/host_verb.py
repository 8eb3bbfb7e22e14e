"""What the host verbs share: their options, what they open, and how they fail."""

from __future__ import annotations

import contextlib
import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blockstore.bare_store import BareStore
    from catalog.inventory import Records
    from httpapi.settings import Settings

_log = logging.getLogger("drystone.admin")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the common options came to."""

    settings: Settings
    json: bool
    quiet: bool

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.settings.data

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        return self.settings.catalog


class HostVerbs(click.Group):
    """Verbs that have their options behind them: whoever leaves the verb out is told which there are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's own, but for what it says of an option that stands where a verb would."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as refused:
            verbs = ", ".join(self.list_commands(ctx))
            raise click.UsageError(
                f"a verb stands before {refused.option_name}, one of {verbs}", ctx=refused.ctx
            ) from refused


def host_verb(function: Callable[..., int | None]) -> Callable[..., None]:
    """Adds the common options; `function` gets them as its first argument, a Chosen, and may give an exit code.

    What the store or the catalog refuses becomes one sentence and exit code 1.
    """

    @click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings (also DRYSTONE_CONFIG).")
    @click.option("--data", type=click.Path(path_type=Path), help="The data directory.  [default: the setting, ./data]")
    @click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
    @click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
    @click.pass_context
    @functools.wraps(function)
    # click hands over whatever options the verb declares.
    def command(context: click.Context, /, **values: Any) -> None:  # noqa: ANN401 - values of any option type
        from httpapi.refusals import REFUSALS, sentence_of
        from httpapi.settings import load

        before = context.obj or {}
        try:
            settings = load(config=values.pop("config"), flags={"data": values.pop("data")})
            chosen = Chosen(
                settings=settings,
                json=values.pop("as_json") or before.get("as_json", False),
                quiet=values.pop("quiet") or before.get("quiet", False),
            )
            code = function(chosen, **values)
        except REFUSALS as refusal:
            if values.get("background"):
                # Its log is a server's, and may be read by programs.
                _log.error("%s", sentence_of(refusal))
                context.exit(1)
            raise click.ClickException(sentence_of(refusal)) from refusal
        if code:
            context.exit(code)

    return command


@contextlib.contextmanager
def opened(chosen: Chosen, purpose: str, *, exclusive: bool) -> Iterator[tuple[BareStore, Records]]:
    """The store and the catalog; the store first, since its lock says whether anything may be touched."""
    from blockstore.bare_store import open_bare
    from catalog.sql.records import open_records
    from catalog.sql.upgrade import bring_up_to_date

    bring_up_to_date(chosen.data, chosen.catalog)
    with (
        open_bare(chosen.data, purpose, exclusive=exclusive) as store,
        open_records(chosen.catalog) as records,
    ):
        yield store, records


def time_of(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """An option's time in seconds, such as 24h."""
    from httpapi.setting_values import duration

    if text is None:
        return None
    try:
        return duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def size_of(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """An option's bytes, such as 100MiB."""
    from httpapi.setting_values import size_of_at_least

    if text is None:
        return None
    try:
        return size_of_at_least(1)(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
