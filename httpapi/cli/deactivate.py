"""`drystone deactivate`: keep an image's bytes from everybody but administrators."""

from __future__ import annotations

from typing import Final

import click

from httpapi.cli.verb import Choices, client_verb

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone deactivate debian
  drystone deactivate 3f9a02 --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@client_verb
def deactivate(choices: Choices, images: tuple[str, ...]) -> None:
    """Keep an image's bytes from everybody but administrators.

    Its record stays as it is, and so does the right to delete it; `drystone reactivate` takes it back. Reads that have
    begun go on. By default its owner's members and administrators may do it. Prints the images' ids.
    """
    from httpapi.cli.acting import act

    act(choices, images, "deactivate")
