"""`drystone convert`: a new image of the same disk, in another format."""

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
  drystone convert debian --to qcow2
  drystone convert debian --to qcow2 --compressed --name debian-for-others
  drystone convert appliance.vmdk --to raw && drystone tree
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@click.option("--to", "disk_format", type=click.Choice(["raw", "qcow2", "vmdk", "vhdx"]), required=True)
@click.option("--name", help="The new image's name. [default: IMAGE's, with the format behind]")
@click.option("--compressed", is_flag=True, help="Compress what is in it; with qcow2 alone.")
@click.option("--no-wait", is_flag=True, help="Don't wait for its end.")
@client_verb
def convert(
    choices: Choices, image: str, *, disk_format: str, name: str | None, compressed: bool, no_wait: bool
) -> None:
    """Have the service make a new image of the disk in IMAGE, in another format; IMAGE stays what it is.

    It can be made of raw, qcow2, vmdk, vhdx and vdi. The new image is private, has IMAGE's tags and properties, and
    names it in drystone_converted_from. As raw it costs only the blocks that are not held yet.

    The service converts by itself: this verb only waits, with a bar on a terminal. Ctrl-C ends the waiting alone, and
    says how to follow or to end it. If it fails, the new image is gone again, and the error has the reason.

    Prints the new image's id where no person reads, and with --json its record (with --no-wait the task's).
    """
    from httpapi.cli.importing import print_begun, print_image, wait_for
    from httpapi.client.imports import convert as convert_image
    from httpapi.client.names import find_image
    from httpapi.wire.conversions import ConversionRequest

    if compressed and disk_format != "qcow2":
        raise click.UsageError("--compressed goes with --to qcow2 alone")
    wanted = ConversionRequest(disk_format, name, compressed)

    async def begin(api: ImagesApi) -> Begun:
        return await convert_image(api, (await find_image(api, image, project=choices.project)).id, wanted)

    begun = run(choices, begin)
    if no_wait:
        print_begun(choices, begun)
        return
    record = wait_for(choices, begun)
    print_image(choices, record, f"Converted to {disk_format}, {record.name or record.id}: {record.size or 0} bytes")
