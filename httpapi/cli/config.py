"""`drystone config`: what the settings come to, before anything is started; and a unit to start it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from httpapi.cli.setting_flags import setting_flags

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.checks import Checked
    from httpapi.settings import Loaded

EXAMPLES: Final = """
\b
Examples:
  drystone config check
  drystone config check --config /etc/drystone.toml
  drystone config check --config /etc/drystone.toml --json | jq .problems
  drystone config check --config /etc/drystone.toml --reach
  drystone config systemd --config /etc/drystone.toml --data /var/lib/drystone
"""


@click.group(epilog=EXAMPLES, short_help="See what the settings come to, or print a systemd unit.")
def config() -> None:
    """See what the settings come to, or print a systemd unit.

    Both take the flags of `drystone serve`, and read the same variables and file.
    """


@config.command(short_help="Say what would run where, and what is wrong.")
@setting_flags
@click.option("--reach", is_flag=True, help="Also log in to Keystone, as the server would.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def check(context: click.Context, /, config: Path | None, *, reach: bool, as_json: bool, **flags: object) -> None:
    """Say what `drystone serve` would run where, and what is wrong.

    Prints every setting with its value and where that came from (default, the file, a variable, a flag), then what
    would run where. Nothing is opened, made or listened on, so it can be run beside a server. With --reach it also
    asks the service that identity keystone needs.

    Problems, with which the server would not start, and warnings are sentences on standard error. The exit code is 1
    if there are problems.
    """
    from dataclasses import replace

    from httpapi.bootstrap import identity_of
    from httpapi.checks import check as look_at
    from httpapi.conversion import describe_conversion
    from httpapi.settings import load_all

    loaded = load_all(config=config, flags=flags)
    checked = look_at(loaded.settings, identity_of)
    # Not by every server that starts: it takes a program that does nothing to see whether that may.
    checked = replace(checked, plan={**checked.plan, "conversion": describe_conversion(loaded.settings)})
    problems = (*loaded.problems, *checked.problems, *(_unreachable(checked) if reach else ()))
    if as_json or (context.find_root().obj or {}).get("as_json"):
        _print_json(loaded, checked, problems)
    else:
        _print_lines(loaded, checked)
        _print_sentences(checked, problems)
    context.exit(1 if problems else 0)


@config.command(short_help="Print a systemd unit for these settings.")
@setting_flags
def systemd(config: Path | None, **flags: object) -> None:
    """Print a systemd unit that serves with these settings, locked into its data directory.

    Its first lines say how to install it. The data directory is /var/lib/drystone unless a flag, a variable or the
    file names another. Print it anew when shutdown_grace or the data directory change.
    """
    from dataclasses import replace

    from httpapi.settings import load_all
    from httpapi.systemd.unit import USUAL_DATA, unit_for

    loaded = load_all(config=config, flags=flags)
    if loaded.problems:
        raise click.ClickException(loaded.problems[0])
    settings = loaded.settings
    if loaded.sources["data"] == "default":
        settings = replace(settings, data=USUAL_DATA)
    click.echo(unit_for(settings, config=config, flags=flags), nl=False)


def _unreachable(checked: Checked) -> tuple[str, ...]:
    """Why the identity cannot do its work from here, a sentence, if it asks another service."""
    import asyncio
    from contextlib import suppress

    from httpapi.identity.contract import Distant
    from httpapi.wire.errors import IdentityUnavailable

    identity: object = checked.identity
    if not isinstance(identity, Distant):
        return ()

    async def ask(asked: Distant) -> str:
        with suppress(IdentityUnavailable):
            await asked.check()
        await asked.close()
        return asked.trouble

    trouble = asyncio.run(ask(identity))
    return (trouble,) if trouble else ()


def _print_json(loaded: Loaded, checked: Checked, problems: tuple[str, ...]) -> None:
    from httpapi.cli.output import print_json

    print_json(
        {
            "settings": {
                name: {"value": _plain(value), "source": loaded.sources[name]} for name, value in _values(loaded)
            },
            "plan": checked.plan,
            "warnings": checked.warnings,
            "problems": problems,
        }
    )


def _print_lines(loaded: Loaded, checked: Checked) -> None:
    """Two blocks: the settings with their sources, and what would run where; tab-separated for programs."""
    from httpapi.cli.output import is_terminal, print_lines, printable

    settings = [(name, _shown(value), loaded.sources[name]) for name, value in _values(loaded)]
    if not is_terminal():
        print_lines([("setting", *row) for row in settings])
        print_lines([("plan", *row) for row in checked.plan.items()])
        return
    wide, wider = (max(len(row[column]) for row in settings) for column in (0, 1))
    for name, value, source in settings:
        emphasis = source != "default"
        click.secho(f"{name:<{wide}}  {printable(value):<{wider}}  {printable(source)}", bold=emphasis)
    click.echo()
    for name, text in checked.plan.items():
        click.echo(f"{name:<{wide}}  {printable(text)}")


def _print_sentences(checked: Checked, problems: tuple[str, ...]) -> None:
    from httpapi.cli.output import printable

    for sentence in checked.warnings:
        click.echo(f"drystone: warning: {printable(sentence)}", err=True)
    for sentence in problems:
        click.echo(f"drystone: {printable(sentence)}", err=True)


def _values(loaded: Loaded) -> list[tuple[str, Any]]:
    from httpapi.settings import SETTING_NAMES

    return [(name, getattr(loaded.settings, name)) for name in SETTING_NAMES]


def _plain(value: object) -> object:
    """A setting's value as JSON has it."""
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, tuple):
        return [str(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value)


def _shown(value: object) -> str:
    """A setting's value as a configuration would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return _size(value)
    plain = _plain(value)
    if isinstance(plain, list):
        return ",".join(map(str, plain)) or "unset"
    return "unset" if plain is None else str(plain)


def _size(value: int) -> str:
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if value and value % (1 << shift) == 0:
            return f"{value >> shift}{unit}"
    return str(value)
