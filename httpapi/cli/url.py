"""`drystone url`: an image for a program that can send no login."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.signed_urls import Readable

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone url debian
  curl -O "$(drystone url debian --expires 10m)"
  drystone url debian --expires 12h --qemu
  qemu-system-x86_64 -m 1024 -drive "if=virtio,snapshot=on,format=raw,file=$(drystone url debian)"
  drystone url debian --cookie-file debian.cookie --qemu
"""


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    from httpapi.setting_values import seconds

    if text is None:
        return None
    try:
        return max(1, int(seconds(text)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog=EXAMPLES)
@click.argument("image")
@click.option(
    "--expires",
    "seconds",
    metavar="TIME",
    callback=_seconds,
    help="How long it is good, such as 10m, 12h or 7d.  [default: 12h, or the longest that the service signs]",
)
@click.option("--cookie", is_flag=True, help="A cookie for the image's own address, instead of a URL.")
@click.option(
    "--cookie-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the cookie to FILE, for you alone, as QEMU's cookie-secret wants it.",
)
@click.option("--qemu", is_flag=True, help="Print commands and options of QEMU's that read the image so.")
@client_verb
def url(
    choices: Choices, image: str, *, seconds: int | None, cookie: bool, cookie_file: Path | None, qemu: bool
) -> None:
    """Print a URL with which whoever has it can read IMAGE for a while, without a login: GET, HEAD and ranges.

    Treat it as a password for that image. Removing its key ends it (`drystone admin url-keys rm`), and so does
    deleting or deactivating the image. For programs that can send no login, such as QEMU's HTTP driver.

    --cookie prints a cookie, `drystone=…`, that does the same at the image's own address, /v2/images/ID/file.
    --cookie-file writes it to a file instead, which the options of --qemu then name: so it stands on no command line.

    --json prints an object with url, cookie, cookie_url, expires_at, image, disk_format, and qemu, a list of lines.
    """
    from httpapi.cli.output import print_json, print_lines
    from httpapi.client.names import find_image
    from httpapi.client.signed_urls import Readable, qemu_lines, sign
    from httpapi.private_file import write_own

    async def ask(api: ImagesApi) -> Readable:
        found = await find_image(api, image, project=choices.project)
        return Readable(found, await sign(api, found.id, seconds))

    if cookie and qemu:
        raise click.UsageError("QEMU reads a cookie from a file: name one with --cookie-file, without --cookie")
    readable = run(choices, ask)
    if cookie_file is not None:
        # No line's end, which QEMU would send along.
        write_own(cookie_file, readable.signed.cookie)
    lines = qemu_lines(readable, None if cookie_file is None else str(cookie_file))
    if choices.json:
        print_json(readable.to_json() | {"qemu": lines})
    elif qemu:
        print_lines((line,) for line in lines)
    else:
        shown = readable.signed.cookie if cookie else readable.signed.url
        print_lines([(shown if cookie_file is None else readable.signed.cookie_url,)])
    if not choices.quiet:
        click.echo(f"drystone: good until {readable.signed.expires_at}, for whoever has it", err=True)
