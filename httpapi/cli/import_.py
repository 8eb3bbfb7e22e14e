"""`drystone import`: an image that the service fetches, or makes of a file that is sent to be staged."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.client.api import ImagesApi
    from httpapi.client.imports import Begun, Into
    from httpapi.wire.images import ImageRecord

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone import --uri https://images.example.org/debian-12.raw --name debian
  drystone import --uri https://images.example.org/debian-12.raw --all-stores
  drystone import disk.qcow2 --name debian --store fast --store deep
  drystone import /var/lib/libvirt/images --name 'lab-{}' --dry-run
  drystone import 3f9a02 --uri https://images.example.org/debian-12.raw
"""


@click.command("import", epilog=EXAMPLES)
@click.argument("words", metavar="[IMAGE] [FILE|DIR]", nargs=-1)
@click.option("--uri", metavar="URL", help="What the service is to fetch by itself, in place of a FILE.")
@click.option("--name", help="A new image's name; of a DIR with {} for each file's. [default: the file's, no suffix]")
@click.option("--disk-format", help="[default: by suffix, qcow2 vmdk vhd vhdx vdi iso, else raw]")
@click.option("--container-format", default="bare", show_default=True)
@click.option("--property", "properties", metavar="KEY=VALUE", multiple=True, help="An extra property; repeatable.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag; repeatable.")
@click.option("--store", "stores", metavar="STORE", multiple=True, help="Where it is to lie; repeatable.")
@click.option("--all-stores", is_flag=True, help="It is to lie in every store that takes images.")
@click.option("--allow-failure", is_flag=True, help="Succeed if at least one of several stores has got it.")
@click.option("--no-wait", is_flag=True, help="Don't wait for its end.")
@click.option("--dry-run", is_flag=True, help="Of a DIR: only say what would become which image.")
@click.option(
    "--backing-dir",
    "backing_dirs",
    metavar="PLACE",
    multiple=True,
    help="Of a DIR: files below overlays may lie in PLACE, too; repeatable.",
)
@client_verb
def import_(
    choices: Choices,
    words: tuple[str, ...],
    *,
    uri: str | None,
    no_wait: bool,
    dry_run: bool,
    backing_dirs: tuple[str, ...],
    **given: object,
) -> None:
    """Make an image of what is at --uri, which the service fetches, or of FILE, which is sent to be staged.

    It makes a new image; IMAGE names one that is there and queued, to be filled. `drystone stores` lists the stores
    that --store may name; without it the image lies where images usually do. `push` is the better way for a FILE that
    may have been pushed before: it sends only what changed.

    DIR is a directory of qcow2, vmdk, vhdx or vdi disks: each becomes an image of its guest's blocks, as `push` makes
    one, what lies below others first. An overlay gets the image of what it lies over as its parent, and sends only what
    it has itself. Interrupted, the same command goes on: what is there already, by the same name and with the same
    bytes, is left as it is, and said. Files below overlays lie in DIR, or below it, or in a --backing-dir. Prints one
    line a disk: the image's id, its name, `imported`, `there`, `failed` or `planned`, and the file; with --json an
    array.

    The service fetches by itself: this verb only waits, with a bar on a terminal. Ctrl-C ends the waiting alone, and
    says how to follow or to end the import. A transfer that breaks off goes on where it was, and so does the import
    when the service is restarted. Which addresses are fetched from is the service's rule: the error names it.

    If the import fails, an image that was made for it is deleted again; IMAGE is queued, to be tried once more.

    Prints the image's id where no person reads, and with --json the image's record (with --no-wait the task's).
    """
    from httpapi.cli.importing import print_begun, print_image

    if uri is None and len(words) == 1 and Path(words[0]).is_dir():
        _import_directory(choices, words[0], backing_dirs, given, dry_run=dry_run, no_wait=no_wait)
        return
    if dry_run or backing_dirs:
        raise click.UsageError("--dry-run and --backing-dir are for a DIR of disks")
    image, file = _image_and_file(words, uri)
    into = _into(given)
    want = image if image is not None else _wanted(file or uri or "", given)
    begun = _begin(choices, want, file, uri, into)
    if no_wait:
        print_begun(choices, begun)
        return
    record = _to_its_end(choices, begun)
    print_image(choices, record, f"Imported {record.name or record.id}: {record.size or 0} bytes")


def _import_directory(
    choices: Choices,
    directory: str,
    places: tuple[str, ...],
    given: dict[str, object],
    *,
    dry_run: bool,
    no_wait: bool,
) -> None:
    from httpapi.cli.import_directory import import_directory
    from httpapi.cli.push import parse_properties

    pattern = str(given["name"] or "{}")
    if "{}" not in pattern:
        raise click.UsageError("--name of a DIR names all its disks: write {} where each file's own name is to stand")
    said = [key for key in ("disk_format", "stores", "all_stores", "allow_failure") if given[key]]
    if said or no_wait or given["container_format"] != "bare":
        raise click.UsageError("disks of a DIR are pushed, as raw: formats, stores and --no-wait are for one image")
    want = parse_properties(given["properties"]) | ({"tags": list(_texts(given["tags"]))} if given["tags"] else {})
    import_directory(choices, directory, want, pattern, places, dry_run=dry_run)


def _texts(given: object) -> tuple[str, ...]:
    assert isinstance(given, tuple)
    return given


def _begin(choices: Choices, want: Mapping[str, object] | str, file: str | None, uri: str | None, into: Into) -> Begun:
    from httpapi.cli.progress import reporting
    from httpapi.client.imports import fetch, send
    from httpapi.client.names import find_image
    from httpapi.client.source import open_source

    async def one(api: ImagesApi) -> Mapping[str, object] | str:
        if not isinstance(want, str):
            return want
        return (await find_image(api, want, project=choices.project, newest=False)).id

    with reporting("import", quiet=choices.quiet) as report:
        if uri is not None:

            async def by_uri(api: ImagesApi) -> Begun:
                return await fetch(api, await one(api), uri, into, report)

            return run(choices, by_uri)
        assert file is not None
        source = open_source(file, size=None, live=False)
        try:

            async def by_file(api: ImagesApi) -> Begun:
                return await send(api, await one(api), source, into, report)

            return run(choices, by_file)
        finally:
            source.close()


def _to_its_end(choices: Choices, begun: Begun) -> ImageRecord:
    """The image; one that was made for an import that failed is deleted again."""
    from httpapi.cli.importing import wait_for
    from httpapi.client.imports import ImportFailed

    try:
        return wait_for(choices, begun)
    except ImportFailed as failed:
        if not begun.is_new:
            raise click.ClickException(f"{failed} The image is queued: the same command tries again") from None
        run(choices, lambda api: api.delete_image(begun.image_id))
        raise click.ClickException(f"{failed} The new image is deleted again") from None


def _image_and_file(words: tuple[str, ...], uri: str | None) -> tuple[str | None, str | None]:
    """What the words are: with --uri an image at most, without it a file at the end."""
    if len(words) > (1 if uri is not None else 2):
        raise click.UsageError("--uri stands for a FILE: give one of them, and one IMAGE at most")
    if uri is not None:
        return (words[0] if words else None), None
    if not words:
        raise click.UsageError("say what to import: a --uri that the service fetches, or a FILE")
    return (words[0] if len(words) == 2 else None), words[-1]


def _into(given: dict[str, object]) -> Into:
    from httpapi.client.imports import Into

    stores, every, some = given.pop("stores"), given.pop("all_stores"), given.pop("allow_failure")
    assert isinstance(stores, tuple)
    if every and stores:
        raise click.UsageError("--all-stores and --store both say where it is to lie: give one of them")
    if some and not every and len(stores) < 2:
        raise click.UsageError("--allow-failure is for several stores: name them with --store, or --all-stores")
    return Into(stores, all_stores=bool(every), some_will_do=bool(some))


def _wanted(source: str, given: dict[str, object]) -> dict[str, object]:
    """The record to create, with the API's names; the name and the format are guessed where they are not said."""
    from httpapi.cli.output import is_utf8
    from httpapi.cli.push import guess_format, parse_properties

    path = PurePath(unquote(urlsplit(source).path) if "://" in source else source)
    name = given["name"] or (None if source == "-" else path.stem)
    if not name or not is_utf8(str(name)):
        raise click.UsageError("there is nothing to name the image after: give it a name with --name")
    want: dict[str, object] = parse_properties(given["properties"])
    want |= {"name": name, "disk_format": given["disk_format"] or guess_format(path.suffix.lower())}
    want |= {"container_format": given["container_format"], "tags": given["tags"]}
    return {key: value for key, value in want.items() if value not in (None, ())}
