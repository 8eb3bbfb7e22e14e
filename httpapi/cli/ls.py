"""`drystone ls`: which images there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.wire.deleted import DeletedRecord
    from httpapi.wire.images import ImageRecord


# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone ls
  drystone ls debian --tag nightly
  drystone ls --json | jq -r '.[].name'
  drystone ls --deleted debian
"""


@click.command(epilog=EXAMPLES)
@click.argument("name", required=False)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Only images with this tag; several: with all.")
@click.option("--all", "everything", is_flag=True, help="Hidden and community images too.")
@click.option("--deleted", is_flag=True, help="Deleted images that can be brought back, instead.")
@client_verb
def ls(choices: Choices, name: str | None, tags: tuple[str, ...], *, everything: bool, deleted: bool) -> None:
    """List images, newest first; with NAME, only those of that name.

    On a terminal a table; elsewhere one line an image: id, name, status, size in bytes and time of creation,
    separated by tabs. --json prints an array of the images' records.

    --deleted lists what `drystone undelete` brings back, the last deleted first: id, name, size in bytes, time of
    deletion, and the time until which it is kept; from then on the next collection takes it.
    """
    if deleted:
        if tags or everything:
            raise click.UsageError("--deleted goes with a NAME, and with neither --tag nor --all")
        _list_deleted(choices, name)
        return
    from httpapi.cli.output import print_images, print_json, print_lines
    from httpapi.client.names import name_filter

    async def collect(api: ImagesApi) -> list[ImageRecord]:
        filters = [name_filter(name)] if name is not None else []
        filters += [("tag", tag) for tag in tags]
        rounds = (
            [[("visibility", "all"), ("os_hidden", hidden)] for hidden in ("false", "true")] if everything else [[]]
        )
        images = [image for extra in rounds async for image in api.list_images([*filters, *extra])]
        # Stable: within one second the server's own order stays.
        return sorted(images, key=lambda image: image.created_at, reverse=True)

    images = run(choices, collect)
    if choices.json:
        print_json([image.to_json() for image in images])
    elif choices.quiet:
        print_lines((image.id,) for image in images)
    else:
        print_images(images)


def _list_deleted(choices: Choices, name: str | None) -> None:
    from httpapi.cli.output import print_deleted, print_json, print_lines
    from httpapi.client.deleted import list_deleted

    async def collect(api: ImagesApi) -> list[DeletedRecord]:
        return [image async for image in list_deleted(api, name)]

    images = run(choices, collect)
    if choices.json:
        print_json([image.to_json() for image in images])
    elif choices.quiet:
        print_lines((image.id,) for image in images)
    else:
        print_deleted(images)
