"""`drystone coalesce`: make an image independent of its ancestors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.wire.tasks import TaskRecord


# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone coalesce debian
  drystone coalesce debian && drystone tasks debian --watch
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@client_verb
def coalesce(choices: Choices, image: str) -> None:
    """Give IMAGE a manifest of its own, so that it is read without the images that it came from.

    Its bytes and its record stay as they are. The service does it in the background, and prints the task's id; it also
    does it by itself where deleted images take space for nothing.
    """
    from httpapi.cli.output import is_terminal, print_json
    from httpapi.client.lineage import coalesce_image
    from httpapi.client.names import find_image

    async def ask(api: ImagesApi) -> TaskRecord:
        return await coalesce_image(api, (await find_image(api, image, project=choices.project)).id)

    task = run(choices, ask)
    if choices.json:
        print_json(task.to_json())
    elif choices.quiet or not is_terminal():
        click.echo(task.id)
    else:
        click.echo(f"{task.id}: under way; `drystone tasks {image} --watch` follows it")
