"""`drystone pull`: an image out."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from httpapi.client.api import ImagesApi
    from httpapi.client.disk_formats.conversion import Wanted
    from httpapi.client.pull import PullResult
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord

# File systems allow 255 bytes; there is room for the suffix.
_LONGEST_STEM: Final = 200
# The API's disk formats. Any other text from a server is no suffix: it could make the name another file's.
_SUFFIXES: Final = frozenset(
    {"aki", "ami", "ari", "iso", "ploop", "qcow2", "raw", "vdi", "vhd", "vhdx", "vmdk"},
)
_TO: Final = ("raw", "qcow2", "vmdk", "vhdx", "vdi")

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone pull debian
  drystone pull 3f9a02 disk.raw --force              (gets only what differs)
  drystone pull debian new.raw --seed old.raw
  drystone pull debian vm.qcow2 --format qcow2       (vmdk, vhdx, vdi, raw, too; --compressed)
  drystone pull debian - | dd of=/dev/vdb bs=4M
  drystone pull debian /mnt/fast/vm7.raw --reflink   (on the machine that has a copy as a file)
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@click.argument("file", required=False)
@click.option("--force", "-f", is_flag=True, help="Replace an existing file; write to a block device.")
@click.option("--seed", "seeds", metavar="OTHER", multiple=True, help="A file with blocks of the image; repeatable.")
@click.option("--reflink", is_flag=True, help="Clone the file that holds the image, if it is on this machine.")
@click.option("--no-verify", is_flag=True, help="With --reflink: do not read the clone to check its hash.")
@click.option(
    "--format", "to_format", type=click.Choice(_TO), help="Convert it to this format.  [default: as the image is]"
)
@click.option("--compressed", is_flag=True, help="With --format qcow2 or vmdk: compress its clusters.")
@client_verb
def pull(
    choices: Choices,
    image: str,
    file: str | None,
    *,
    force: bool,
    seeds: tuple[str, ...],
    reflink: bool,
    no_verify: bool,
    to_format: str | None,
    compressed: bool,
) -> None:
    """Download IMAGE to FILE; without FILE, to its name and format in this directory, such as debian.raw.

    IMAGE is an id, the first 6 or more digits of one, or a name: your newest active image of that name. FILE `-`
    is standard output. A file is sparse, and appears under its name only when its hash is right; until then its
    bytes are in a hidden file beside it, .FILE.RANDOM.drystone-part. With --force the new file keeps the old one's
    permissions. A broken connection is continued. A block device is written in place, zeros too. A named pipe is
    waited for until somebody reads it.

    Only the blocks that differ are fetched, each checked by its BLAKE3, where something is here already: the FILE that
    --force replaces, a block device, a --seed, or what an interrupted pull of the same FILE has left. FILE stays as it
    was until the new one is whole. Interrupted, the same command goes on.

    With --reflink nothing is transferred where the service says that the image lies in a file that can be read here:
    FILE shares that file's blocks if the file system can do it, else is a copy with its holes kept. Its hash is checked
    all the same, unless --no-verify says that the file is to be trusted. Where there is no such file, a note says why,
    and IMAGE is downloaded.

    With --format the image is downloaded and its hash checked, then qemu-img (qemu-utils) makes FILE of it; until then
    both are hidden files beside it. FILE's suffix chooses nothing: a note says when it is another format's. What was an
    image of that format before comes as it is. --seed and --reflink are for the image's own format.

    Prints the file's path where no person reads, a summary on a terminal, and with --json an object with id,
    name, size, seconds, rate (bytes a second), verified, unchanged and received (bytes), cloned (`reflink`, `copy` or
    null), and file (on standard error if the data goes to `-`).
    """
    from httpapi.cli.progress import reporting
    from httpapi.client.names import find_image
    from httpapi.client.transfers import clone_disk, pull_disk

    _refuse_together(file, seeds, reflink=reflink, no_verify=no_verify)
    wanted = _wanted(to_format, compressed=compressed)
    if file == "-" and seeds:
        raise click.UsageError("--seed is for files: standard output gets the whole image")
    if file == "-" and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal: redirect it, or name a file")

    with reporting("pull", quiet=choices.quiet) as report:

        async def step(api: ImagesApi) -> tuple[str, PullResult]:
            record = await find_image(api, image, project=choices.project)
            path = file if file is not None else file_name_for(record, to_format)
            _tell_of_suffix(path, to_format or record.disk_format, report)
            if wanted is not None and wanted.is_made_by_converting(record):
                if seeds or reflink:
                    raise click.UsageError(f"--seed and --reflink are for the image's own format, {record.disk_format}")
                from httpapi.client.disk_formats.conversion import pull_converted

                return path, await pull_converted(api, record, path, wanted, report, force=force)
            if reflink:
                return path, await clone_disk(api, record.id, path, report, force=force, verify=not no_verify)
            return path, await pull_disk(api, record.id, path, report, force=force, seeds=seeds)

        path, result = run(choices, step)
    _print_result(choices, path, result)


def _refuse_together(file: str | None, seeds: tuple[str, ...], *, reflink: bool, no_verify: bool) -> None:
    if no_verify and not reflink:
        raise click.UsageError("--no-verify is for --reflink: what is downloaded is always checked")
    if reflink and (seeds or file == "-"):
        raise click.UsageError("--reflink makes a file of another one: it goes with neither --seed nor standard output")


def _wanted(to_format: str | None, *, compressed: bool) -> Wanted | None:
    from httpapi.client.disk_formats.conversion import COMPRESSED, Wanted

    if compressed and to_format not in COMPRESSED:
        raise click.UsageError(
            f"--compressed goes with --format {' or '.join(COMPRESSED)}: others have no such clusters"
        )
    return None if to_format is None else Wanted(to_format, compressed)


def _tell_of_suffix(path: str, disk_format: str | None, report: Report) -> None:
    suffix = PurePath(path).suffix.lower().removeprefix(".")
    if suffix in _SUFFIXES and suffix != disk_format:
        convert = f"; --format {suffix} converts it" if suffix in _TO else ""
        report.note(f"{path} will be {disk_format}, whatever its name says{convert}")


def file_name_for(image: ImageRecord, to_format: str | None = None) -> str:
    """A file's name for an image, made from its name; never a path, a hidden file or an option."""
    stem = _stem(image.name or "") or _stem(image.id) or "image"
    disk_format = to_format or image.disk_format
    suffix = f".{disk_format}" if disk_format in _SUFFIXES else ".raw"
    return stem if stem.endswith(suffix) else stem + suffix


def _stem(text: str) -> str:
    name = "".join(each if each.isprintable() and each != "/" else "_" for each in text)
    while len(name.encode()) > _LONGEST_STEM:
        name = name[:-1]
    return name.strip().lstrip(".- ").strip()


def _print_result(choices: Choices, path: str, result: PullResult) -> None:
    import os

    from httpapi.cli.output import human_size, is_terminal, json_text, print_json, printable, summary

    image, streamed = result.image, path == "-"
    if choices.json:
        document = {
            "id": image.id,
            "name": image.name,
            "size": result.size,
            "seconds": round(result.seconds, 3),
            "rate": round(result.size / result.seconds) if result.seconds > 0 else None,
            "verified": result.verified,
            "unchanged": result.unchanged,
            "received": result.received,
            "cloned": result.cloned,
            "file": path,
        }
        if streamed:
            click.echo(json_text(document), err=True)
        else:
            print_json(document)
    elif streamed:
        return
    elif choices.quiet or not is_terminal():
        # As the file system has it, in whatever encoding.
        click.echo(os.fsencode(path))
    else:
        came = f", {human_size(result.received)} received" if result.unchanged else ""
        if result.cloned is not None:
            came = ", as a clone" if result.cloned == "reflink" else ", as a copy of a file here"
        click.echo(f"{summary('Pulled', image, result.size, result.seconds)}{came}\n{printable(path)}")
