"""`drystone nbd`: an image as a disk that machines boot from, without downloading it."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.nbd_export.listening import TcpPlace, UnixPlace
    from httpapi.client.nbd_export.serving import Ready, ServingWish

_USUAL_PORT: Final = 10809
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20}

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone nbd debian --socket /run/user/1000/debian.sock

\b
A machine that may write to that, and forgets it at the end:
  qemu-system-x86_64 -m 2G -drive \\
    file='nbd+unix:///?socket=/run/user/1000/debian.sock',format=raw,if=virtio

\b
One whose disk stays, in vm7.qcow2, which has only what it writes (the command for QEMU is printed):
  drystone nbd debian --socket /run/user/1000/vm7.sock --overlay vm7.qcow2

\b
libvirt, whose QEMU runs in a group of its own (libvirt-qemu on Debian, qemu on Fedora):
  drystone nbd debian --socket /run/debian.sock --group libvirt-qemu
  virsh edit vm:
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <source protocol='nbd'><host transport='unix' socket='/run/debian.sock'/></source>
      <target dev='vda' bus='virtio'/>
    </disk>

\b
A block device of this machine, and what of it is holes:
  drystone nbd debian --socket /run/debian.sock --read-only
  nbd-client -unix /run/debian.sock /dev/nbd0 && mount -o ro /dev/nbd0p1 /mnt
  nbdinfo --map --totals 'nbd+unix:///?socket=/run/debian.sock'
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@click.option("--socket", metavar="PATH", type=click.Path(path_type=Path), help="A unix socket to serve at.")
@click.option("--tcp", metavar="[HOST:]PORT", help="A TCP port instead, of this machine alone unless HOST says more.")
@click.option("--group", metavar="NAME", help="Let this group use the socket too; otherwise it is yours alone.")
@click.option(
    "--overlay",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Make FILE, or go on with it: a qcow2 over the image for a machine to write to.",
)
@click.option("--read-only", "-r", is_flag=True, help="Refuse writes.")
@click.option(
    "--patience",
    metavar="SECONDS",
    type=click.IntRange(0, 86400),
    default=300,
    show_default=True,
    help="How long reads wait at least for a service that is away.",
)
@click.option(
    "--fetch",
    metavar="SIZE",
    default="1M",
    show_default=True,
    help="How much is asked of the service at once: a power of two, 64K to 32M.",
)
@click.option(
    "--scratch",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where what was read and written is kept until the end.  [default: /var/tmp]",
)
@client_verb
def nbd(
    choices: Choices,
    image: str,
    *,
    socket: Path | None,
    tcp: str | None,
    group: str | None,
    overlay: Path | None,
    read_only: bool,
    patience: int,
    fetch: str,
    scratch: Path | None,
) -> None:
    """Serve IMAGE as a disk, by NBD, until Ctrl-C; blocks come from the service when they are read.

    IMAGE is an id, the first 6 or more digits of one, or a name: your newest active image of that name. It is never
    changed. Holes are told to whoever asks, if the image lies in the service's blocks.

    What is written goes to a temporary file that all who use the disk share, and is gone at the end. With --overlay
    FILE it stays: the disk itself is read-only then, FILE a qcow2 file over it that one machine at a time opens, with
    all formats pinned. The same command goes on with a FILE that there is; it is refused over any other image.

    What was read is kept in the same temporary file and asked for once, so it may grow to the image's size.

    The service may be restarted, or be away for --patience seconds: reads wait and go on. A login is renewed as the
    other verbs do; it is in no command line and no file that others can read. Whoever can use the socket reads the
    image without one; NBD has no encryption, so use --tcp beyond this machine only on networks that you trust.

    Needs nbdkit with its curl plugin and filters, 1.30 or newer, and for --overlay qemu-img. Prints a URI when it
    serves, a command for QEMU too where a person reads, and with --json one object: id, name, size, format, uri,
    read_only, holes (bytes, null where they are not known), overlay, and qemu, arguments of a QEMU that has the disk.
    Ended by Ctrl-C or SIGTERM, it removes the socket and ends with exit code 0.
    """
    from httpapi.cli.progress import reporting
    from httpapi.client.names import find_image
    from httpapi.client.nbd_export.serving import ServingWish, serve_disk

    wish = ServingWish(
        place=_place(socket, tcp, group),
        read_only=read_only,
        overlay=overlay,
        scratch=scratch,
        patience=patience,
        fetch=_fetch_size(fetch),
    )
    if overlay is not None and read_only:
        raise click.UsageError("--overlay is for writing: leave it or --read-only out")

    # Without a bar, which would hide what is printed.
    with reporting("nbd", quiet=True) as report:

        async def step(api: ImagesApi) -> None:
            record = await find_image(api, image, project=choices.project)
            serves = False

            def ready(what: Ready) -> None:
                nonlocal serves
                serves = True
                _print_ready(choices, what, wish)

            try:
                await serve_disk(api, record, wish, report, ready)
            except asyncio.CancelledError:
                if not serves:
                    raise

        run(choices, step)


def _place(socket: Path | None, tcp: str | None, group: str | None) -> UnixPlace | TcpPlace:
    from httpapi.client.nbd_export.listening import TcpPlace, UnixPlace

    if (socket is None) == (tcp is None):
        raise click.UsageError("say where to serve: --socket PATH or --tcp PORT")
    if socket is not None:
        return UnixPlace(socket.absolute(), group)
    if group is not None:
        raise click.UsageError("--group is for a --socket: a port has no permissions")
    host, _, port = (tcp or "").rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.UsageError(f"--tcp {tcp}: say PORT or HOST:PORT, such as {_USUAL_PORT} or 10.0.0.7:{_USUAL_PORT}")
    return TcpPlace(host.strip("[]") or "127.0.0.1", int(port))


def _fetch_size(text: str) -> int:
    from httpapi.client.nbd_export.nbdkit import LARGEST_FETCH, SMALLEST_FETCH

    number, unit = text.lower().removesuffix("ib").removesuffix("b"), ""
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1:]
    size = int(number) * _UNITS[unit] if number.isascii() and number.isdigit() else 0
    if not SMALLEST_FETCH <= size <= LARGEST_FETCH or size & (size - 1):
        raise click.UsageError(f"--fetch {text}: a power of two from 64K to 32M")
    return size


def qemu_arguments(ready: Ready, wish: ServingWish) -> list[str]:
    """What gives a QEMU this disk: every format pinned, so that nothing in the data is taken for one."""
    server: dict[str, object] = {
        "driver": "nbd", "server": wish.place.blockdev(), "export": ready.image.id,
    }  # fmt: skip
    if wish.read_only or wish.overlay is not None:
        # What is served is the same again when it is served anew; what was written to it without an overlay is not.
        server["reconnect-delay"] = 60
    read_only: dict[str, object] = {"read-only": True} if wish.read_only or wish.overlay is not None else {}
    disk: dict[str, object] = {"driver": ready.driver, **read_only, "file": server}
    if ready.driver == "qcow2":
        # Whatever file of this machine it may name.
        disk["backing"] = None
    if wish.overlay is None:
        return [*_node("disk", disk), "-device", "virtio-blk-pci,drive=disk"]
    # A node of its own: what stands in FILE is not looked at.
    file = {"driver": "file", "filename": str(wish.overlay.absolute())}
    overlay: dict[str, object] = {"driver": "qcow2", "file": file, "backing": "base"}
    return [*_node("base", disk), *_node("disk", overlay), "-device", "virtio-blk-pci,drive=disk"]


def _node(name: str, node: dict[str, object]) -> list[str]:
    return ["-blockdev", json.dumps({"node-name": name, **node}, separators=(",", ":"))]


def _print_ready(choices: Choices, ready: Ready, wish: ServingWish) -> None:
    from httpapi.cli.output import human_size, is_terminal, print_json, printable

    image, arguments = ready.image, qemu_arguments(ready, wish)
    if choices.json:
        print_json(
            {
                "id": image.id,
                "name": image.name,
                "size": image.size,
                "format": ready.driver,
                "uri": ready.uri,
                "read_only": wish.read_only or wish.overlay is not None,
                "holes": ready.holes,
                "overlay": None if wish.overlay is None else str(wish.overlay.absolute()),
                "qemu": arguments,
            }
        )
    elif choices.quiet or not is_terminal():
        click.echo(ready.uri)
    else:
        name = printable(image.name or image.id)
        holes = "" if ready.holes is None else f", {human_size(ready.holes)} of it holes"
        click.echo(f"Serving {name} ({image.id}), {human_size(image.size or 0)}{holes}, until Ctrl-C")
        click.echo(printable(ready.uri))
        if wish.overlay is not None:
            made = "made" if ready.overlay_is_new else "gone on with"
            click.echo(f"{printable(str(wish.overlay))} is {made}: what the machine writes stays there")
        click.echo(f"\n  qemu-system-x86_64 -m 2G {printable(shlex.join(arguments))}\n")
