"""`drystone tree`: where images come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.lineage import Branch


# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone tree
  drystone tree debian
  drystone tree --json | jq -r '.[] | select(.parent == null).name'
"""


@click.command(epilog=EXAMPLES)
@click.argument("image", required=False)
@click.option("--all", "everything", is_flag=True, help="Hidden and community images too.")
@client_verb
def tree(choices: Choices, image: str | None, *, everything: bool) -> None:
    """Draw which image came from which, newest line first; with IMAGE the whole line that it belongs to.

    An image is shown with its size, which is that of the full disk, and the size of what it changed: the data in which
    it differs from its parent. A parent that was deleted, or that you may not see, is named by its id alone.

    On a terminal a tree; elsewhere one line an image, each parent before its children: id, name, parent's id, size and
    changed size in bytes, separated by tabs. --json prints an array of records.
    """
    from httpapi.cli.tree_output import print_lines_of_descent
    from httpapi.client.lineage import lines
    from httpapi.client.names import find_image

    async def collect(api: ImagesApi) -> list[Branch]:
        if image is None:
            return await lines(api, everything=everything)
        image_id = (await find_image(api, image, project=choices.project)).id.lower()
        return [branch for branch in await lines(api, everything=True) if branch.has(image_id)]

    print_lines_of_descent(choices, run(choices, collect))
