"""`drystone admin rebuild-index`: the index made again from the packs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.index.rebuild import Rebuilt
    from blockstore.progress import Progress
    from catalog.health import HarmedImage

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin rebuild-index --data /srv/images
  drystone admin rebuild-index --read-data --keep-old
"""


@click.command("rebuild-index", epilog=EXAMPLES, short_help="Make the index again from the packs.")
@click.option("--read-data", is_flag=True, help="Read every byte, and take in only blocks whose hash is right.")
@click.option("--keep-old", is_flag=True, help="Leave the old index's file beside the new one.")
@host_verb
def rebuild_index(chosen: Chosen, *, read_data: bool, keep_old: bool) -> int:
    """Make the index again from the packs, when it is damaged or lost; images, packs and catalog stay as they are.

    It has the data directory to itself: stop servers and workers first, or it says who is there. The old index stays in
    force until the new one is complete and on the disk; interrupted, just run it again. It needs room for a second
    index and for 48 bytes a block. Of several copies of a block the newest one is taken.

    Afterwards every image's blocks are looked up: images that miss some are named, and the exit code is 1.
    """
    from httpapi.cli.admin.showing import progress
    from httpapi.cli.output import print_json

    with progress(quiet=chosen.quiet) as bars:
        done = _rebuild(chosen, bars, read_data=read_data, keep_old=keep_old)
        harmed = _look(chosen, bars)
    if chosen.json:
        print_json(asdict(done) | {"harmed": [asdict(image) for image in harmed]})
    else:
        _tell(done, harmed)
    return 1 if harmed else 0


def _rebuild(chosen: Chosen, bars: Progress, *, read_data: bool, keep_old: bool) -> Rebuilt:
    import contextlib

    from blockstore.data_dir import DataDir
    from blockstore.disk import Disk
    from blockstore.index.rebuild import Rebuilding, rebuild

    data = DataDir.open_made(chosen.data, Disk(), purpose="admin rebuild-index", exclusive=True)
    with contextlib.closing(data):
        return rebuild(data, Rebuilding(data=read_data, keep_old=keep_old), bars)


def _look(chosen: Chosen, bars: Progress) -> Sequence[HarmedImage]:
    """Which images miss blocks. The data may be served meanwhile."""
    from catalog.usecases import administration

    with opened(chosen, "admin rebuild-index", exclusive=False) as (store, records):
        return administration.images_missing_blocks(store, records, bars)


def _tell(done: Rebuilt, harmed: Sequence[HarmedImage]) -> None:
    from httpapi.cli.admin.showing import MOST_SHOWN, Fact, bytes_fact, print_facts, print_harmed, say

    for skipped in done.skipped[:MOST_SHOWN]:
        say(f"skipped {skipped}")
    if len(done.skipped) > MOST_SHOWN:
        say(f"and {len(done.skipped) - MOST_SHOWN} more: --json lists them")
    print_harmed(harmed)
    print_facts(
        [
            Fact("packs", done.packs),
            bytes_fact("pack bytes", done.bytes),
            Fact("rows", done.rows),
            Fact("duplicates", done.duplicates),
            Fact("skipped", len(done.skipped)),
            Fact("packs sealed", done.adopted),
            Fact("images harmed", len(harmed)),
            *([Fact("old index", done.old)] if done.old else []),
        ]
    )
