"""`drystone locations`: where an image's bytes lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.locations import Place

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone locations debian
  drystone locations debian --json | jq -r '.[].store'
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@client_verb
def locations(choices: Choices, image: str) -> None:
    """Show where IMAGE lies, in the order in which it is read: a store's name and a URL, one place a line.

    A service tells URLs to whom its policy says, by default to services and administrators; others see the stores'
    names, where it has several. A place whose copy was lost is missing until it was put back.

    The two are separated by a tab where no person reads. --json prints an array of objects with store and url.
    """
    from httpapi.cli.output import print_json, print_lines
    from httpapi.client.locations import places
    from httpapi.client.names import find_image

    async def find(api: ImagesApi) -> Sequence[Place]:
        return await places(api, (await find_image(api, image, project=choices.project)).id)

    found = run(choices, find)
    if choices.json:
        print_json([{"store": place.store, "url": place.url} for place in found])
        return
    if not found and not choices.quiet:
        click.echo("drystone: the service does not tell where this image lies", err=True)
    print_lines((place.store or "",) if choices.quiet else (place.store or "", place.url or "") for place in found)
