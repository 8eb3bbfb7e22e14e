"""`drystone copy`: an image's bytes into further stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.imports import Begun

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone copy debian --to fast
  drystone copy debian --to fast --to deep
  drystone copy debian --all-stores --allow-failure
  drystone copy debian --to fast && drystone rm debian --from deep
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@click.option("--to", "stores", metavar="STORE", multiple=True, help="A store that is to have a copy; repeatable.")
@click.option("--all-stores", is_flag=True, help="Every store that takes images.")
@click.option("--allow-failure", is_flag=True, help="Succeed if at least one of several stores has got it.")
@click.option("--no-wait", is_flag=True, help="Don't wait for its end.")
@client_verb
def copy(
    choices: Choices, image: str, *, stores: tuple[str, ...], all_stores: bool, allow_failure: bool, no_wait: bool
) -> None:
    """Copy IMAGE into further stores; it stays where it is, and is read from the heaviest store that has it.

    `drystone stores` lists them, `drystone locations IMAGE` says where it lies. The service copies by itself: this verb
    only waits, with a bar on a terminal. Ctrl-C ends the waiting alone, and says how to follow or to end the copy. A
    store that loses its copy later, as one on an ephemeral volume does, is given it again by the service.

    Prints the image's id where no person reads, and with --json the image's record (with --no-wait the task's).
    """
    from httpapi.cli.importing import print_begun, print_image, wait_for
    from httpapi.client.imports import Into
    from httpapi.client.imports import copy as copy_image
    from httpapi.client.names import find_image

    if all_stores == bool(stores):
        raise click.UsageError("say where to: --to STORE, once or more often, or --all-stores")
    if allow_failure and not all_stores and len(stores) < 2:
        raise click.UsageError("--allow-failure is for several stores: name them with --to, or --all-stores")
    into = Into(stores, all_stores=all_stores, some_will_do=allow_failure)

    async def begin(api: ImagesApi) -> Begun:
        found = await find_image(api, image, project=choices.project)
        return await copy_image(api, found.id, into)

    begun = run(choices, begin)
    if no_wait:
        print_begun(choices, begun)
        return
    record = wait_for(choices, begun)
    print_image(choices, record, f"Copied {record.name or record.id}: {', '.join(stores) or 'all stores'}")
