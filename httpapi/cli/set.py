"""`drystone set`: change what is said of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord
    from httpapi.wire.patches import PatchOperation

VISIBILITIES: Final = ("public", "community", "shared", "private")
MINIMUM: Final = click.IntRange(0, 2**31 - 1)

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone set debian --name debian-12 --protected
  drystone set 3f9a02 --property os_distro=debian --remove-property old
  drystone set debian --visibility community --hidden
"""


@click.command("set", epilog=EXAMPLES)
@click.argument("image")
@click.option("--name", metavar="NAME", help="What it is called.")
@click.option("--min-disk", metavar="GB", type=MINIMUM, help="What a server's disk must have.")
@click.option("--min-ram", metavar="MB", type=MINIMUM, help="What a server's memory must have.")
@click.option("--disk-format", metavar="FORMAT", help="What its bytes are; only before they come.")
@click.option("--container-format", metavar="FORMAT", help="What these are in; likewise.")
@click.option("--owner", metavar="PROJECT", help="Whose it is; admins may give it away.")
@click.option("--property", "-p", "properties", metavar="K=V", multiple=True, help="Set a property; repeatable.")
@click.option("--remove-property", "removed", metavar="K", multiple=True, help="Remove a property; repeatable.")
@click.option("--visibility", type=click.Choice(VISIBILITIES), help="Whom it is shown to.")
@click.option("--protected/--unprotected", default=None, help="Whether it cannot be deleted.")
@click.option("--hidden/--visible", default=None, help="Whether lists leave it out.")
@client_verb
def set_(
    choices: Choices, image: str, *, properties: tuple[str, ...], removed: tuple[str, ...], protected: bool | None,
    hidden: bool | None, **said: str | int | None,
) -> None:  # fmt: skip
    """Change what is said of IMAGE: all that is asked for, or nothing.

    Its id is printed. The bytes of an image never change; `drystone push` makes the next version.
    """
    from httpapi.cli.output import print_json
    from httpapi.client.changing import change_image
    from httpapi.client.names import find_image
    from httpapi.wire.patches import PatchOperation

    given = {**said, "protected": protected, "os_hidden": hidden}
    operations = [PatchOperation("put", key, value) for key, value in given.items() if value is not None]
    operations += _property_changes(properties, removed)
    if not operations:
        raise click.UsageError("nothing is to be changed")

    async def change(api: ImagesApi) -> ImageRecord:
        found = await find_image(api, image, project=choices.project)
        return await change_image(api, found.id, operations)

    record = run(choices, change)
    if choices.json:
        print_json(record.to_json())
    else:
        click.echo(record.id)


def _property_changes(properties: tuple[str, ...], removed: tuple[str, ...]) -> list[PatchOperation]:
    from httpapi.wire.patches import PatchOperation

    changes: list[PatchOperation] = []
    for text in properties:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--property {text!r} is no K=V, such as os_distro=debian")
        changes.append(PatchOperation("put", key, value))
    return changes + [PatchOperation("remove", key) for key in removed]
