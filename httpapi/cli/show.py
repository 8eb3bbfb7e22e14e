"""`drystone show`: what is known of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord


# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone show debian
  drystone show 3f9a02
  drystone show debian --json | jq -r .os_hash_value
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@client_verb
def show(choices: Choices, image: str) -> None:
    """Show everything known of IMAGE: an id, the first 6 or more digits of one, or a name.

    A name means your newest active image of that name. One attribute a line, with a tab between name and value
    when standard output is no terminal.
    """
    from httpapi.cli.output import print_attributes, print_json
    from httpapi.client.names import find_image

    async def find(api: ImagesApi) -> ImageRecord:
        return await find_image(api, image, project=choices.project)

    record = run(choices, find)
    if choices.json:
        print_json(record.to_json())
    elif choices.quiet:
        click.echo(record.id)
    else:
        links = {"self", "file", "schema"}
        print_attributes({name: value for name, value in record.to_json().items() if name not in links})
