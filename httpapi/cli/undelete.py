"""`drystone undelete`: bring back deleted images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord


_WAY_OUT: Final = "ask an administrator to show it to others again"

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone ls --deleted
  drystone undelete 3f9a02
  drystone undelete debian
  drystone undelete --all debian     (every deleted version, such as after a wrong forget)
"""


@click.command(epilog=EXAMPLES)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--all", "every", is_flag=True, help="A name that several deleted images had means all of them.")
@client_verb
def undelete(choices: Choices, images: tuple[str, ...], *, every: bool) -> None:
    """Bring back deleted images, each named by its id, the first 6 or more digits of it, or the name that it had.

    A deleted image can be brought back for a day, or as long as the service's setting gc_keep_deleted says; `drystone
    ls --deleted` lists those that can be, and until when. It comes back whole: bytes, properties, tags, parent, under
    the same id. Whoever was allowed to delete it may do it; one that was public is private then, if they may not make
    images public, and a line on standard error says so.

    A name must have been one deleted image's only, unless --all is given. Nothing is brought back unless every IMAGE is
    found. The ids of the images that are back are printed; with --json their records.
    """
    from httpapi.cli.output import print_json, printable
    from httpapi.client.deleted import find_deleted, undelete_image

    async def find(api: ImagesApi) -> list[str]:
        found = [await find_deleted(api, text, project=choices.project, every=every) for text in images]
        return list(dict.fromkeys(image_id for ids in found for image_id in ids))

    back: list[ImageRecord] = []

    async def bring_back(api: ImagesApi) -> None:
        for image_id in await find(api):
            record, lost = await undelete_image(api, image_id)
            back.append(record)
            if not choices.json:
                click.echo(record.id)
            if lost is not None:
                click.echo(
                    f"drystone: image {record.id} was {printable(lost)}, and is private now: {_WAY_OUT}", err=True
                )

    try:
        run(choices, bring_back)
    finally:
        if choices.json:
            print_json([image.to_json() for image in back])
