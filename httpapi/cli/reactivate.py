"""`drystone reactivate`: let deactivated images be read again."""

from __future__ import annotations

from typing import Final

import click

from httpapi.cli.verb import Choices, client_verb

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone reactivate debian
  drystone reactivate 3f9a02 --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@client_verb
def reactivate(choices: Choices, images: tuple[str, ...]) -> None:
    """Let deactivated images be read again.

    By default its owner's members and administrators may do it. Prints the images' ids.
    """
    from httpapi.cli.acting import act

    act(choices, images, "reactivate")
