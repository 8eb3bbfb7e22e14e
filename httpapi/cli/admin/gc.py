"""`drystone admin gc`: what deleted images took is given back."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened, size_of, time_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.usecases.administration import Collection
    from httpapi.cli.admin.showing import Fact

_log = logging.getLogger("drystone.collection")
# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin gc --dry-run
  drystone admin gc --data /srv/images --rate 50MiB
  drystone admin gc --all --wait 300
  drystone admin gc --keep-deleted 0     (what was deleted just now, too)
"""


@click.command(epilog=EXAMPLES, short_help="Give back the space of deleted images.")
@click.option("--offline", is_flag=True, help="Refuse to run beside servers and workers.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
@click.option("--all", "everything", is_flag=True, help="Rewrite every pack that holds anything dead.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Rewrite packs with a greater share of dead bytes.",
)
@click.option(
    "--keep-deleted",
    metavar="DURATION",
    callback=time_of,
    help="Keep images that were deleted less than so long ago; 0: none.  [default: the setting gc_keep_deleted, 24h]",
)
@click.option("--rate", metavar="SIZE", callback=size_of, help="Read at most so much a second, such as 50MiB.")
@click.option(
    "--wait",
    type=click.FloatRange(0, 86400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long uploads that are writing right now may take to end what they write.",
)
@click.option("--background", is_flag=True, hidden=True, help="As a server starts it: in its log, behind all others.")
@click.option("--empty-catalog", is_flag=True, help="The catalog knows no image's data, and that is right.")
@host_verb
def gc(
    chosen: Chosen,
    *,
    offline: bool,
    dry_run: bool,
    everything: bool,
    share: float,
    keep_deleted: float | None,
    rate: int | None,
    wait: float,
    background: bool,
    empty_catalog: bool,
) -> int:
    """Remove what no image needs: blocks, manifests, journals; packs with much that is dead are written anew.

    Images that were deleted long enough ago are given up first; `drystone undelete` brings back the others. What a
    newer version reads through a deleted one goes with a later collection, when a job has made it independent.

    Servers and workers go on meanwhile. It may be interrupted at any moment, and run again. Packs are rewritten one
    after another, so it needs room for one or two more (64 MiB each). If a manifest cannot be read, nothing is removed.

    It waits for uploads that are just writing, some seconds. If one does not end, because its process is stopped or its
    disk hangs, it says whom it waits for, and ends with exit code 3: no block was removed, and the next run goes on.
    """
    from blockstore import clock, reserve
    from blockstore.garbage import Collecting
    from catalog.usecases import administration
    from httpapi.background import AWAITS, behind_all_others
    from httpapi.cli.admin.showing import print_facts, progress, say
    from httpapi.cli.output import print_json

    tell: Callable[[str], None] = say
    if background:
        behind_all_others(chosen.settings, "gc")
        tell = _log.warning
    how = Collecting(share=0.0 if everything else share, dry_run=dry_run, wait=wait, rate=rate)
    with (
        contextlib.nullcontext() if dry_run else reserve.for_collection(chosen.data),
        progress(quiet=chosen.quiet or background, tell=tell) as bars,
        opened(chosen, "admin gc", exclusive=offline) as (store, records),
    ):
        done = administration.collect(
            store,
            records,
            how,
            bars,
            at=clock.now(),
            keep_deleted=chosen.settings.gc_keep_deleted if keep_deleted is None else keep_deleted,
            empty_catalog=empty_catalog,
        )
    if background or not chosen.json:
        for note in done.collected.notes:
            tell(note)
    if chosen.json:
        print_json(_document(done))
    else:
        print_facts(_facts(done))
    for awaited in done.collected.awaited:
        tell(f"no block was removed: waited {wait:g} s in vain for {awaited}; the next run goes on")
    if done.collected.awaited:
        return AWAITS
    return 1 if done.collected.notes else 0


def _document(done: Collection) -> dict[str, object]:
    awaited = [asdict(each) | {"since": each.since.isoformat()} for each in done.collected.awaited]
    given_up = {"uploads_given_up": done.given_up, "deleted_images_given_up": done.expired}
    document = asdict(done.collected) | {"awaited": awaited, "images_to_coalesce": done.coalescing} | given_up
    del document["split"]
    return document


def _facts(done: Collection) -> list[Fact]:
    from httpapi.cli.admin.showing import Fact, bytes_fact

    collected = done.collected
    return [
        Fact("done", _done(done)),
        Fact("uploads given up", done.given_up),
        Fact("deleted images given up", done.expired),
        Fact("blocks forgotten", collected.forgotten),
        bytes_fact("bytes forgotten", collected.forgotten_bytes),
        Fact("dead entries", collected.dead),
        bytes_fact("dead bytes", collected.dead_bytes),
        Fact("packs removed", collected.packs_dropped),
        Fact("packs rewritten", collected.packs_rewritten),
        Fact("blocks moved", collected.moved),
        bytes_fact("bytes copied to put images in order", collected.ordered_bytes),
        Fact("images to coalesce", done.coalescing),
        Fact("manifests removed", collected.manifests_removed),
        Fact("journals removed", collected.journals_removed),
        bytes_fact("dead bytes left", collected.left),
        bytes_fact("bytes that would be freed, about" if collected.dry_run else "bytes freed", collected.freed),
    ]


def _done(done: Collection) -> str:
    if done.collected.dry_run:
        return "nothing, a dry run"
    return "files only: a writer did not end" if done.collected.awaited else "yes"
