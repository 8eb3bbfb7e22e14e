"""How a policy's verdicts look, and what came of them: a table for people, lines or JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from httpapi.cli.output import SHORT_ID, human_size, is_terminal, print_json, print_lines, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from httpapi.cli.verb import Choices
    from httpapi.client.forget import Outcome, Verdict
    from httpapi.client.retention import Policy


def print_verdicts(choices: Choices, verdicts: Sequence[Verdict], *, dry_run: bool) -> None:
    """Each image with what keeps it, newest first; with --quiet only what a dry run would delete."""
    if choices.json:
        return
    if choices.quiet:
        print_lines((each.image.id,) for each in reversed(verdicts) if dry_run and not each.stays)
    elif is_terminal():
        from rich.console import Console

        Console().print(table_of(verdicts))
        going = sum(not each.stays for each in verdicts)
        click.echo(f"{len(verdicts) - going} stay, {going} {'would be deleted' if dry_run else 'to delete'}")
    else:
        print_lines(
            (_act(each), each.image.id, each.image.created_at, each.image.size, ", ".join(each.reasons))
            for each in verdicts
        )


def table_of(verdicts: Sequence[Verdict]) -> Table:
    """A rich table; times by the clock on the wall, by which days and weeks are counted. Formats where they differ."""
    from rich.table import Table
    from rich.text import Text

    kinds = {(each.image.disk_format, each.image.container_format) for each in verdicts}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "ID", "CREATED", *(["FORMAT"] if len(kinds) > 1 else ())):
        table.add_column(heading, no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("REASONS")
    for each in verdicts:
        image = each.image
        cells = [_act(each), image.id[:SHORT_ID], each.made.strftime("%Y-%m-%d %H:%M:%S")]
        if len(kinds) > 1:
            cells.append(printable(f"{image.disk_format or '-'} {image.container_format or '-'}"))
        cells += ["-" if image.size is None else human_size(image.size), printable(", ".join(each.reasons))]
        # Text, not str: what a server says may hold what rich takes for markup.
        table.add_row(*(Text(cell) for cell in cells), style=None if each.stays else "dim")
    return table


def print_outcome(choices: Choices, outcome: Outcome, name: str) -> None:
    """A line on standard error for each image that is still there; ClickException if there is one."""
    for image_id in outcome.gone:
        click.echo(f"drystone: image {image_id} had been deleted already", err=True)
    for image_id, why in outcome.failed.items():
        click.echo(f"drystone: image {image_id} is not deleted: {printable(why)}", err=True)
    for image_id in outcome.untried:
        click.echo(f"drystone: image {image_id} was not tried", err=True)
    if not outcome.is_whole:
        left, done = len(outcome.failed) + len(outcome.untried), len(outcome.deleted)
        raise click.ClickException(f"{done} images are deleted, {left} are not: the same command tries them again")
    if outcome.deleted and not (choices.json or choices.quiet) and is_terminal():
        click.echo(
            f"{len(outcome.deleted)} deleted; `drystone ls --deleted` shows what can be brought back of "
            f"{printable(name)}"
        )


def print_document(name: str, policy: Policy, verdicts: Sequence[Verdict], outcome: Outcome, *, dry_run: bool) -> None:
    """All of it as JSON."""
    print_json(
        {
            "name": name,
            "policy": policy.to_json(),
            "dry_run": dry_run,
            "images": [_image_of(each) for each in verdicts],
            "deleted": outcome.deleted,
            "gone": outcome.gone,
            "failed": [{"id": image_id, "error": why} for image_id, why in outcome.failed.items()],
            "untried": outcome.untried,
        }
    )


def _image_of(verdict: Verdict) -> dict[str, object]:
    image = verdict.image
    return {
        "id": image.id,
        "created_at": image.created_at,
        "status": image.status,
        "size": image.size,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "keep": verdict.stays,
        "reasons": list(verdict.reasons),
    }


def _act(verdict: Verdict) -> str:
    return "keep" if verdict.stays else "remove"
