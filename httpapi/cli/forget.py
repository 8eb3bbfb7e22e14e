"""`drystone forget`: delete old versions by a policy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpapi.client.api import ImagesApi
    from httpapi.client.forget import Verdict
    from httpapi.client.retention import Within

T = TypeVar("T")

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone forget debian --keep-daily 7 --keep-weekly 4 --dry-run
  drystone forget debian --keep-last 3
  drystone forget vm --yes --keep-daily 7 --keep-weekly 5 --keep-monthly 12
  drystone forget vm --keep-within 14d --keep-yearly unlimited

\b
Each night, from cron:
  drystone push /dev/vg/snap --name vm && drystone forget vm --yes --keep-daily 7 --keep-weekly 4
"""


class _Count(click.ParamType):  # type: ignore[type-arg]  # generic in the types alone
    """A number to keep, or `unlimited`."""

    name = "N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, -1 for `unlimited`."""
        from httpapi.client.retention import UNLIMITED

        if isinstance(value, int):
            return value
        text = str(value)
        if text == "unlimited":
            return UNLIMITED
        if not text.isascii() or not text.isdigit():
            self.fail(f"{text!r} is no number, 0 or more, and not 'unlimited'", param, ctx)
        return int(text[:9])


def _within(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Within | None:
    from httpapi.client.retention import Within

    if text is None:
        return None
    try:
        return Within.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def policy_options(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a click command the options that say what to keep."""
    command = click.option(
        "--keep-within",
        metavar="DURATION",
        callback=_within,
        help="Keep all that are younger than the newest by less than this: 14d, 6m (months), 1y6m2d3h.",
    )(command)
    for kind in ("yearly", "monthly", "weekly", "daily", "hourly"):
        time = {"daily": "day"}.get(kind, kind.removesuffix("ly"))
        help_text = f"Keep the newest of each {time}, for the last N {time}s that have any."
        command = click.option(f"--keep-{kind}", type=_Count(), default=0, help=help_text)(command)
    return click.option("--keep-last", type=_Count(), default=0, help="Keep the N newest.")(command)


@click.command(epilog=EXAMPLES)
@click.argument("name")
@policy_options
@click.option("--dry-run", "-n", is_flag=True, help="Delete nothing; show what would be.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@client_verb
# click hands over the rules by their options' names.
def forget(choices: Choices, name: str, *, dry_run: bool, yes: bool, **keep: Any) -> None:  # noqa: ANN401 - their values
    """Delete the versions of NAME that no rule keeps: all your images of that name, as `drystone push` makes them.

    The rules are restic's. A version stays if one of them keeps it; each counts for itself. Of an hour, day, week,
    month or year the newest version is kept, and only those that have a version are counted; days begin at midnight
    by this machine's clock (TZ), weeks on Monday. A rule that has some left keeps the oldest version, too. At least
    one rule has to be given, 0 is none, `unlimited` keeps all; so the newest version always stays.

    Protected images are spared, and count. Images that are not active stay, and don't. Versions in different formats
    are judged apart. Children of what is deleted stay whole, and what was deleted can be brought back for a while
    (`drystone undelete`); its space is free after that, with the next collection.

    It shows each image with what keeps it and, on a terminal, asks before it deletes. Elsewhere a line an image: keep
    or remove, id, time of creation, size in bytes, reasons; separated by tabs. --quiet prints the deleted images' ids
    alone, --json one document. Exit code 1 if an image that was to go is still there.
    """
    from blockstore.clock import now
    from httpapi.cli.forget_output import print_document, print_outcome, print_verdicts
    from httpapi.client import forget as client
    from httpapi.client.retention import Policy

    policy = Policy(**{key.removeprefix("keep_"): value for key, value in keep.items()})
    if policy.is_empty:
        raise click.UsageError(
            "nothing says what to keep, and all would be deleted: give --keep-last, --keep-daily or another rule "
            "(0 is none); `drystone rm` deletes single images"
        )

    async def judge(api: ImagesApi) -> list[Verdict]:
        return client.judge(await client.find_versions(api, name, choices.project), policy, now())

    verdicts = run(choices, judge)
    print_verdicts(choices, verdicts, dry_run=dry_run)
    # The oldest first: what an interruption leaves is then the younger part.
    going = [each.image for each in reversed(verdicts) if not each.stays]
    outcome = client.Outcome()

    def tell(image_id: str) -> None:
        if choices.quiet and not choices.json:
            click.echo(image_id)

    try:
        if going and not dry_run:
            if not yes and sys.stdin.isatty():
                _ask(name, len(going), len(verdicts))
            run(choices, lambda api: client.forget(api, going, outcome, tell))
    finally:
        if choices.json:
            print_document(name, policy, verdicts, outcome, dry_run=dry_run)
    print_outcome(choices, outcome, name)


def _ask(name: str, going: int, all_of_them: int) -> None:
    """Goes on only if the user agrees."""
    from httpapi.cli.output import printable

    if not click.confirm(f"Delete {going} of {all_of_them} images called {printable(name)}?", err=True):
        raise click.ClickException("nothing is deleted")
