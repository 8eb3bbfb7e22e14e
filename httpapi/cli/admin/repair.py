"""`drystone admin repair --from FILE|URL|IMAGE`: damaged blocks are stored anew from where their bytes still are."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blockstore.progress import Progress
    from blockstore.store import BlockStore
    from catalog.inventory import Records
    from catalog.usecases.repairing import Patients, Repaired
    from httpapi.cli.admin.showing import Fact

PIECE: Final = 1 << 20
PURPOSE: Final = "admin repair"

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin repair --from /backup/debian-12.raw --data /srv/images
  drystone admin repair --from https://images.example.org/debian-12.raw
  drystone admin repair --from debian-12-copy
"""


@click.command(epilog=EXAMPLES, short_help="Heal damaged images from a file, an address or another image.")
@click.option("--from", "source", required=True, metavar="FILE|URL|IMAGE", help="Where the bytes may still be.")
@click.option(
    "--cacert",
    envvar="DRYSTONE_CACERT",
    type=click.Path(path_type=Path),
    help="A PEM file of the authorities that the URL's certificate is of.  [default: $DRYSTONE_CACERT]",
)
@host_verb
def repair(chosen: Chosen, *, source: str, cacert: Path | None) -> int:
    """Store blocks that are damaged or lost anew, from a source that has their bytes; all images heal that have them.

    The source is read from its beginning to its end and cut as the harmed images are cut; a block is taken if its hash
    is that of a lost one, so any source is safe, an older or newer version of an image too. It may run beside servers,
    and be run again if it was interrupted: what was healed stays so.

    What names an existing file is that file; what has :// in it is an address, http or https; all else is an image here
    by id, the beginning of one, or name: it helps if it is cut otherwise than the harmed one.

    Exit code 0: no image is harmed any more. 1: some are.
    """
    from blockstore.errors import DataRefused
    from catalog.usecases import repairing, scrubbing
    from httpapi.cli.admin.showing import progress, say
    from httpapi.cli.output import print_json

    with progress(quiet=chosen.quiet) as bars:
        with opened(chosen, PURPOSE, exclusive=False) as (store, records):
            if not ("://" in source or Path(source).exists()):
                repairing.source_image(records, source)
            before = repairing.patients(store, records, bars)
        if before.wanted.blocks and not before.wanted.cuttings:
            raise DataRefused("no manifest of the harmed images can be read, so nobody knows how they are cut")
        if before.wanted.blocks:
            _heal(chosen, source, cacert, before, bars)
        else:
            say("no image misses a block, so nothing is read")
        with opened(chosen, PURPOSE, exclusive=False) as (store, records):
            done = repairing.outcome(store, records, before)
            scrubbing.look_for_harm(store, records)
    if chosen.json:
        print_json(asdict(done))
    else:
        _tell(done)
    return 1 if done.harmed else 0


def _heal(chosen: Chosen, source: str, cacert: Path | None, before: Patients, bars: Progress) -> None:
    from blockstore.repair import Repair

    with _store(chosen) as (store, records):
        work = Repair(store, before.wanted)
        at = 0

        def feed(piece: bytes | memoryview) -> bool:
            nonlocal at
            work.feed(piece)
            at += len(piece)
            bars.moved(at)
            return bool(work.left)

        def begin(size: int | None) -> None:
            bars.begin("repair", size or 0, "B")

        try:
            if "://" in source:
                _from_address(source, cacert, chosen.settings.image_size_cap, begin, feed)
            elif Path(source).exists():
                _from_file(source, begin, feed)
            else:
                _from_image(store, records, source, begin, feed)
        finally:
            # What was found before it broke off is kept.
            work.finish()


@contextlib.contextmanager
def _store(chosen: Chosen) -> Iterator[tuple[BlockStore, Records]]:
    """As a server opens it, with little memory."""
    from blockstore.store import BlockStore, StoreOptions
    from catalog.sql.records import open_records

    with (
        contextlib.closing(BlockStore.open(chosen.data, StoreOptions(slab_budget=16 << 20), purpose=PURPOSE)) as store,
        open_records(chosen.catalog) as records,
    ):
        yield store, records


def _from_file(path: str, begin: Callable[[int | None], None], feed: Callable[[memoryview], bool]) -> None:
    from httpapi.client.source import open_source

    source = open_source(path, live=True)
    try:
        begin(source.size)
        room = memoryview(bytearray(PIECE))
        while piece := source.read(room):
            if not feed(piece):
                return
    finally:
        source.close()


def _from_image(
    store: BlockStore,
    records: Records,
    text: str,
    begin: Callable[[int | None], None],
    feed: Callable[[memoryview], bool],
) -> None:
    from catalog.usecases import repairing

    image = repairing.source_image(records, text)
    begin(image.size)
    with contextlib.closing(repairing.bytes_of(store, records, image)) as pieces:
        for piece in pieces:
            if not feed(piece):
                return


def _from_address(
    address: str, cacert: Path | None, most: int, begin: Callable[[int | None], None], feed: Callable[[bytes], bool]
) -> None:
    import asyncio

    from httpapi.client.web_bytes import web_bytes

    async def run() -> None:
        async with contextlib.aclosing(web_bytes(address, most=most, cacert=cacert, told=begin)) as pieces:
            async for piece in pieces:
                if not feed(piece):
                    return

    asyncio.run(run())


def _tell(done: Repaired) -> None:
    from httpapi.cli.admin.showing import Fact, print_facts, print_harmed
    from httpapi.cli.output import print_lines

    if done.whole:
        click.echo("Images that are whole again (id, name, status):")
        print_lines((image.id, image.name or "", image.status) for image in done.whole)
    print_harmed(done.harmed)
    facts: list[Fact] = [
        Fact("blocks healed", done.healed),
        Fact("blocks not found", done.left),
        Fact("images whole again", len(done.whole)),
        Fact("images still harmed", len(done.harmed)),
    ]
    print_facts(facts)
