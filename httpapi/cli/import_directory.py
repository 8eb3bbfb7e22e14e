"""`drystone import DIR`: a directory of disks, each overlay over the image of what it lies over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from httpapi.cli.verb import Choices, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.disk_formats.directory import Brought, Plan


def import_directory(
    choices: Choices, directory: str, want: Mapping[str, object], pattern: str, places: Sequence[str], *, dry_run: bool
) -> None:
    """Import what is in it, or only say what would be. Exit code 1 if one was refused or failed."""
    from httpapi.cli.endpoint import state_path
    from httpapi.cli.progress import reporting
    from httpapi.client.disk_formats.directory import FAILED, PLANNED, Brought, bring, look
    from httpapi.client.push_terms import PushWish

    plan = look(directory, places, pattern)
    if dry_run:
        done = [Brought(disk, PLANNED) for disk in plan.disks]
    else:
        with reporting("import", quiet=choices.quiet) as report:

            async def all_of_it(api: ImagesApi) -> list[Brought]:
                wish = PushWish(state_path(), project=choices.project)
                found = []
                async for each in bring(api, plan, want, wish, report):
                    found.append(each)
                    if each.why is not None:
                        report.note(f"{each.disk.path} was not imported: {each.why}")
                return found

            done = run(choices, all_of_it)
    _print(choices, plan, done)
    if plan.refused or any(each.what == FAILED for each in done):
        raise click.exceptions.Exit(1)


def _print(choices: Choices, plan: Plan, done: Sequence[Brought]) -> None:
    from httpapi.cli.output import print_json, print_lines, printable

    for path, why in plan.refused.items():
        click.echo(f"drystone: {printable(path)} is not imported: {printable(why)}", err=True)
    if plan.others and not choices.quiet:
        names = ", ".join(printable(each) for each in plan.others[:10])
        click.echo(f"drystone: no disks in another format, and left alone: {names}", err=True)
    if choices.json:
        print_json([_document(each) for each in done])
    elif choices.quiet:
        print_lines([(each.image.id,) for each in done if each.image is not None])
    else:
        print_lines(
            [(each.image.id if each.image else "-", each.disk.name, each.what, each.disk.path) for each in done]
        )


def _document(each: Brought) -> dict[str, object]:
    image = each.image
    return {
        "file": each.disk.path,
        "format": each.disk.format,
        "base": each.disk.base,
        "name": each.disk.name,
        "result": each.what,
        "id": None if image is None else image.id,
        "parent": None if image is None else image.parent_image_ref,
        "size": None if image is None else image.size,
        "sent": each.sent,
        "why": each.why,
    }
