"""`drystone rm`: delete images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord


# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone rm 3f9a02
  drystone rm --yes debian-old ubuntu-old
  drystone rm debian --from fast          (its copy there alone; the image stays)
"""


@click.command(epilog=EXAMPLES)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option(
    "--from", "store", metavar="STORE", help="Take out of this store alone; the image must lie elsewhere too."
)
@client_verb
def rm(choices: Choices, images: tuple[str, ...], *, yes: bool, store: str | None) -> None:
    """Delete images, each named by its id, the first 6 or more digits of it, or its name.

    Unlike elsewhere, a name must belong to one image only: deleting the newest of several would be a surprise.
    Nothing is deleted unless every IMAGE is found. On a terminal it asks first. The ids of the deleted images
    are printed. For a while, `drystone undelete` brings them back.

    With --from the images stay, and only their copies in that store go: nothing is lost, so it does not ask. The last
    place of an image cannot be taken from it. By default only services and administrators may do it.
    """
    from httpapi.cli.output import print_json
    from httpapi.client.imports import remove_from
    from httpapi.client.names import find_image

    async def find(api: ImagesApi) -> list[ImageRecord]:
        found = [await find_image(api, text, project=choices.project, newest=False) for text in images]
        return list({image.id: image for image in found}.values())

    found = run(choices, find)
    if store is None and not yes and sys.stdin.isatty():
        _ask(found)
    deleted: list[str] = []

    async def delete(api: ImagesApi) -> None:
        for image in found:
            await (api.delete_image(image.id) if store is None else remove_from(api, store, image.id))
            deleted.append(image.id)
            if not choices.json:
                click.echo(image.id)

    try:
        run(choices, delete)
    finally:
        if choices.json:
            print_json([{"id": image_id} for image_id in deleted])


def _ask(images: Sequence[ImageRecord]) -> None:
    """Goes on only if the user agrees."""
    from httpapi.cli.output import SHORT_ID, printable

    named = ", ".join(f"{image.id[:SHORT_ID]} {printable(image.name or '')}".strip() for image in images)
    if not click.confirm(f"Delete {named}?", err=True):
        raise click.ClickException("nothing is deleted")
