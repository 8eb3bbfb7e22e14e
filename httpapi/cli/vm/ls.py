"""`drystone vm ls`: the backups of machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.vm.groups import Group

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone vm ls
  drystone vm ls web --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("name", required=False)
@client_verb
def ls(choices: Choices, name: str | None) -> None:
    """List your backups of machines, the newest first; with NAME, those of that machine.

    A line a backup: its id, name, when it was made, its disks, their sizes in bytes together, and what is missing;
    separated by tabs. A disk is missing whose image was deleted, or never came to be whole. --json prints an array of
    objects with group, name, created_at, missing and disks (disk, id, status, size).
    """
    from httpapi.client.vm.groups import find_groups

    groups = run(choices, lambda api: find_groups(api, name, choices.project))
    _print(choices, groups)


def _print(choices: Choices, groups: Sequence[Group]) -> None:
    from httpapi.cli.output import print_json, print_lines

    if choices.json:
        print_json(
            [
                {
                    "group": each.id,
                    "name": each.domain,
                    "created_at": each.created_at,
                    "missing": each.missing,
                    "disks": [
                        {"disk": disk, "id": image.id, "status": image.status, "size": image.size}
                        for disk, image in each.images.items()
                    ],
                }
                for each in groups
            ]
        )
    elif choices.quiet:
        print_lines((each.id,) for each in groups)
    else:
        print_lines(
            (
                each.id,
                each.domain,
                each.created_at,
                " ".join(each.active),
                sum(image.size or 0 for image in each.active.values()),
                " ".join(each.missing),
            )
            for each in groups
        )
