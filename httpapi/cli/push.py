"""`drystone push`: an image in."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.output import is_utf8
from httpapi.cli.verb import Choices, interrupted_by_sigterm, run, waiting_verb
from httpapi.wire.images import CUTTING, ImageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.client.changed_extents import ChangedExtents
    from httpapi.client.disk_formats.guest_disk import GuestSource
    from httpapi.client.push_terms import PushResult

_FORMATS: Final = {".qcow2", ".vmdk", ".vhd", ".vhdx", ".vdi", ".iso"}
# What has an option or is the server's to say: as a property it would only be misunderstood.
_ATTRIBUTES: Final = frozenset(each.name for each in fields(ImageRecord)) - {"properties"} | {"self", "file", "schema"}

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone push debian-12.raw --name debian --tag nightly
  drystone push debian-12.raw --name debian          (again: sends what changed)
  drystone push /dev/vg/snap --name vm --parent 3f9a02
  drystone push --nbd 'nbd+unix:///vda?socket=/run/vm' --bitmap nightly --name vm
  drystone push disk.qcow2 --property os_distro=debian --min-disk 10      (the guest's blocks, as raw)
  drystone push vm7.qcow2                            (an overlay: what lies over its base)
  drystone push disk.qcow2 --as-is                   (the file's bytes, as qcow2)
  drystone push backup.tar --cutting content-defined
  zstd -dc disk.raw.zst | drystone push - --name disk
  ID=$(drystone push --quiet disk.raw)
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", required=False)
@click.option("--name", help="The image's name. [default: the file's, without its suffix]")
@click.option("--id", "image_id", metavar="UUID", help="The image's id. [default: a random one]")
@click.option("--disk-format", help="[default: raw for a guest's blocks, else by suffix, vhd iso, else raw]")
@click.option("--as-is", is_flag=True, help="Keep the bytes of a qcow2, vmdk, vhdx or vdi, not its guest's blocks.")
@click.option(
    "--backing-dir",
    "backing_dirs",
    metavar="DIR",
    multiple=True,
    help="Files below an overlay may lie in DIR, too; repeatable.",
)
@click.option("--container-format", default="bare", show_default=True)
@click.option("--property", "properties", metavar="KEY=VALUE", multiple=True, help="An extra property; repeatable.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag; repeatable.")
@click.option("--visibility", type=click.Choice(["private", "shared", "community", "public"]))
@click.option("--hidden", is_flag=True, help="Leave it out of lists by default.")
@click.option("--protected", is_flag=True, help="Refuse to delete it; to allow that again takes a later version.")
@click.option("--min-disk", type=click.IntRange(0), metavar="GB", help="The smallest disk it boots from.")
@click.option("--min-ram", type=click.IntRange(0), metavar="MB", help="The least memory it boots with.")
@click.option("--cutting", metavar="HOW", help="How to cut it into blocks, as below. [default: by its formats]")
@click.option("--size", type=click.IntRange(0), metavar="BYTES", help="What a stream must hold; else refused.")
@click.option(
    "--parent",
    metavar="IMAGE|none",
    help="Send only what differs from IMAGE; none: a full image. [default: your newest of that name and format]",
)
@click.option(
    "--base", "bases", metavar="IMAGE", multiple=True, help="With a parent: IMAGE has blocks of FILE, too; repeatable."
)
@click.option(
    "--changed-extents", metavar="FILE|-", help="A list of what may differ from the parent: the rest is not read."
)
@click.option("--nbd", metavar="URI", help="Push an NBD export, such as a running machine's disk, in place of a FILE.")
@click.option("--bitmap", metavar="NAME", help="With --nbd: read only what this dirty bitmap says has changed.")
@click.option("--live", is_flag=True, help="Push a file that a virtual machine, or something else, is writing to.")
@click.option("--keep", is_flag=True, help="After a failure, don't delete the image again.")
@waiting_verb
def push(
    choices: Choices,
    file: str | None,
    *,
    parent: str | None,
    bases: tuple[str, ...],
    changed_extents: str | None,
    nbd: str | None,
    bitmap: str | None,
    size: int | None,
    as_is: bool,
    backing_dirs: tuple[str, ...],
    live: bool,
    keep: bool,
    **attributes: object,
) -> None:
    """Upload FILE, a disk image or block device, as a new image; `-` reads standard input.

    Where you have an image of that name already, only the blocks that differ from it are sent, compressed, and it
    becomes the new one's parent; the new image is a full disk of its own all the same. --parent names another image, or
    none. Interrupted, the same command goes on where it stopped. A regular file that was pushed before and has not
    changed is not read again.

    Of a qcow2, vmdk, vhdx or vdi the blocks that its guest sees are stored, as a raw image, so that the next version
    shares them; a note says so. qemu-nbd reads them (qemu-utils); what the file says is empty is not read. An overlay
    is read through the files below it, which must lie beside it, or below its directory, or in a --backing-dir; of what
    was pushed before and is unchanged only what lies over it is read. --as-is, or a --disk-format of these, keeps the
    file's bytes. Standard input is always kept as it is.

    A full image is compared with what was read by its SHA-512; when anything fails, it is deleted again, which a
    service refuses where it was to be --protected. Holes of a sparse file are not read. A file that changes meanwhile,
    or that a QEMU has open to write, is refused without --live.

    --nbd pushes the export at nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH, and with --bitmap, over a
    parent, only what that bitmap of a QEMU has dirty; the bitmap is asked for by nbdinfo (libnbd). What it does not
    have must be the parent's.

    --base names images that have blocks of FILE at other places, such as the one that was installed in it: what they
    have is named and not sent.

    --changed-extents takes the JSON of `qemu-img map --output=json` for an overlay, or of `nbdinfo
    --map=qemu:dirty-bitmap:NAME --json`: only those bytes are read, all others are taken to be the parent's.

    The service stores blocks, each once. `--cutting fixed` suits disks, whose bytes keep their places, and is the
    default for them; `content-defined` finds what is the same although it was shifted, and is the default for iso,
    ova, docker and compressed. Either may have a size: fixed:4KiB to fixed:4MiB, content-defined:16KiB to
    content-defined:1MiB. Smaller blocks find more, and cost more.

    Prints the new image's id where no person reads, a summary on a terminal, and with --json an object with id,
    name, size, seconds, rate (bytes a second), verified, parent, unchanged and sent (bytes), os_hash_algo and
    os_hash_value.
    """
    from httpapi.cli.endpoint import state_path
    from httpapi.cli.progress import reporting
    from httpapi.client.push_terms import PushWish
    from httpapi.client.source import open_export, open_source
    from httpapi.client.unchanged_push import push_unchanged

    _check_source(file, nbd, bitmap, changed_extents, size)
    as_is = as_is or attributes["disk_format"] not in {None, "raw"} or size is not None
    guest = None if nbd is not None or as_is else _guest_source(file or "-", backing_dirs)
    if guest is not None:
        attributes["disk_format"] = "raw"
    want = _wanted(file or "-", attributes)
    touched = _touched(file, parent, changed_extents, nbd, bitmap)
    wish = PushWish(state_path(), parent, choices.project, bases, touched, live=live, keep=keep)
    source = guest or (open_export(nbd) if nbd is not None else open_source(file or "-", size=size, live=live))
    try:
        with reporting("push", quiet=choices.quiet) as report:
            if guest is not None:
                guest.disk.tell(report)
            with interrupted_by_sigterm():
                result = push_unchanged(choices.access, source, want, wish, report)
            if result is None:
                from httpapi.client.transfers import push_disk

                result = run(choices, lambda api: push_disk(api, source, want, wish, report))
    finally:
        source.close()
    _print_result(choices, result)


def _guest_source(file: str, backing_dirs: tuple[str, ...]) -> GuestSource | None:
    from httpapi.client.disk_formats.opening import open_guest_disk

    disk = None if file == "-" else open_guest_disk(file, backing_dirs)
    if disk is None:
        return None
    from httpapi.client.disk_formats.guest_disk import GuestSource

    return GuestSource(disk)


def _check_source(
    file: str | None, nbd: str | None, bitmap: str | None, changed_extents: str | None, size: int | None
) -> None:
    if file is None and nbd is None:
        raise click.UsageError("Missing argument 'FILE': name what to push, or an export with --nbd")
    if file is not None and nbd is not None:
        raise click.UsageError("FILE and --nbd both say what to push: give one of them")
    if bitmap is not None and nbd is None:
        raise click.UsageError("--bitmap is one of the export that --nbd names")
    if bitmap is not None and changed_extents is not None:
        raise click.UsageError("--bitmap and --changed-extents say the same: give one of them")
    if nbd is not None and size is not None:
        raise click.UsageError("--size is for streams: an export has a size of its own")


def _touched(
    file: str | None, parent: str | None, given: str | None, nbd: str | None, bitmap: str | None
) -> ChangedExtents | None:
    """What may differ from the parent, as far as the options say so."""
    if given is None and bitmap is None:
        return None
    import sys

    from httpapi.client.changed_extents import parse_extents
    from httpapi.client.parents import NO_PARENT

    if file == "-" or parent == NO_PARENT:
        raise click.UsageError("what has changed can be said of a FILE that is read by position, and over a parent")
    if nbd is not None and bitmap is not None:
        from httpapi.client.nbd_bitmap import dirty_extents

        return dirty_extents(nbd, bitmap)
    assert given is not None
    if given == "-":
        return parse_extents(sys.stdin.buffer.read(), "standard input")
    return parse_extents(Path(given).read_bytes(), given)


def _wanted(file: str, attributes: dict[str, object]) -> dict[str, object]:
    """The record to create, with the API's names; only what was asked for or guessed."""
    path = PurePath(file)
    name = attributes.pop("name") or (None if file == "-" else path.stem)
    if name is None:
        raise click.UsageError("standard input has no name: give the image one with --name")
    if not is_utf8(str(name)):
        raise click.UsageError(f"the file's name {name!r} is not valid UTF-8: give the image one with --name")
    suffix = path.suffix.lower()
    want: dict[str, object] = parse_properties(attributes.pop("properties"))
    want |= {"name": name, "disk_format": attributes.pop("disk_format") or guess_format(suffix)}
    want |= {"id": attributes.pop("image_id"), "tags": list(_texts(attributes.pop("tags")))}
    want |= _parse_cutting(attributes.pop("cutting"), want)
    want |= {"os_hidden": attributes.pop("hidden"), **attributes}
    # An option that was not given is left to the server: None, False, nothing; but min_disk 0 is a wish.
    return {key: value for key, value in want.items() if value not in (None, []) and value is not False}


def parse_properties(given: object) -> dict[str, object]:
    """The extra properties of KEY=VALUE texts; UsageError for what is none."""
    properties: dict[str, object] = {}
    for text in _texts(given):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--property {text!r} is not KEY=VALUE")
        if key in _ATTRIBUTES:
            raise click.UsageError(f"{key!r} is an attribute of every image and no extra property: look for its option")
        properties[key] = value
    return properties


def _parse_cutting(given: object, want: dict[str, object]) -> dict[str, object]:
    if given is None:
        return {}
    from chunker.cutting import Cutting, CuttingRefused

    if CUTTING in want:
        raise click.UsageError(f"--cutting and --property {CUTTING} say the same: give one of them")
    try:
        Cutting.parse(str(given))
    except CuttingRefused as error:
        raise click.UsageError(f"--cutting: {error}") from None
    return {CUTTING: given}


def _texts(given: object) -> Sequence[str]:
    assert isinstance(given, tuple)
    return given


def guess_format(suffix: str) -> str:
    """The disk format that a file's suffix, such as .qcow2, tells of."""
    return suffix.removeprefix(".") if suffix in _FORMATS else "raw"


def _print_result(choices: Choices, result: PushResult) -> None:
    from httpapi.cli.output import human_size, is_terminal, print_json, summary

    image = result.image
    if choices.json:
        print_json(
            {
                "id": image.id,
                "name": image.name,
                "size": result.size,
                "seconds": round(result.seconds, 3),
                "rate": round(result.size / result.seconds) if result.seconds > 0 else None,
                "verified": result.verified,
                "parent": image.parent_image_ref,
                "unchanged": result.unchanged,
                "sent": result.sent,
                "os_hash_algo": image.os_hash_algo,
                "os_hash_value": image.os_hash_value,
            },
        )
    elif choices.quiet or not is_terminal():
        click.echo(image.id)
    else:
        sent = f", {human_size(result.sent)} sent" if result.unchanged else ""
        click.echo(f"{summary('Pushed', image, result.size, result.seconds)}{sent}\n{image.id}")
