"""`drystone tag`: put tags on an image, take them off, or list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.wire.images import ImageRecord

# What a single dash means to every verb; a tag that is called so is removed with --remove.
_FLAGS: Final = frozenset({"-h", "-q", "-v"})

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone tag debian
  drystone tag debian +tested -nightly
  drystone tag 3f9a02 --add tested --remove nightly
"""


class TagCommand(click.Command):
    """Reads `-nightly` as `--remove nightly`, and `+tested` as `--add tested`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's own, of the arguments as it knows them; what follows `--add` and its like is a value as it stands."""
        options = (each for each in self.params if isinstance(each, click.Option) and not each.is_flag)
        valued = {name for option in options for name in option.opts}
        read: list[str] = []
        is_value = False
        for each in args:
            read.append(each if is_value else _as_option(each))
            is_value = not is_value and each in valued
        return super().parse_args(ctx, read)


@click.command(cls=TagCommand, epilog=EXAMPLES, options_metavar="[+TAG|-TAG]... [OPTIONS]")
@click.argument("image")
@click.option("--add", "added", metavar="TAG", multiple=True, help="The same as +TAG.")
@click.option("--remove", "removed", metavar="TAG", multiple=True, help="The same as -TAG.")
@client_verb
def tag(choices: Choices, image: str, *, added: tuple[str, ...], removed: tuple[str, ...]) -> None:
    """Put tags on IMAGE with +TAG and take them off with -TAG; then list its tags, one a line.

    Each is done by itself, first those that are added, and others' changes at the same time are kept. It fails at a
    tag that is to be taken off and is not there.
    """
    from httpapi.cli.output import print_json, printable
    from httpapi.client.changing import add_tag, remove_tag
    from httpapi.client.names import find_image

    async def change(api: ImagesApi) -> ImageRecord:
        found = await find_image(api, image, project=choices.project)
        for each in added:
            await add_tag(api, found.id, each)
        for each in removed:
            await remove_tag(api, found.id, each)
        return await api.get_image(found.id) if added or removed else found

    record = run(choices, change)
    if choices.json:
        print_json(record.to_json())
    elif choices.quiet:
        click.echo(record.id)
    else:
        for each in record.tags:
            click.echo(printable(each))


def _as_option(argument: str) -> str:
    if len(argument) > 1 and argument[0] == "+":
        return f"--add={argument[1:]}"
    if len(argument) > 1 and argument[0] == "-" and argument[1] != "-" and argument not in _FLAGS:
        return f"--remove={argument[1:]}"
    return argument
