"""`drystone admin gc --offline`: what deleted images took is given back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened, time_of

if TYPE_CHECKING:
    from catalog.usecases.administration import Collection
    from httpapi.cli.admin.showing import Fact

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin gc --offline --dry-run
  systemctl stop drystone && drystone admin gc --offline --data /srv/images; systemctl start drystone
  drystone admin gc --offline --all
  drystone admin gc --offline --keep-deleted 0     (what was deleted just now, too)
"""


@click.command(epilog=EXAMPLES, short_help="Give back the space of deleted images.")
@click.option("--offline", is_flag=True, help="Wanted: every server and worker on this data is stopped.")
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
    empty_catalog: bool,
) -> int:
    """Remove what no image needs: blocks, manifests, journals; packs with much that is dead are written anew.

    Images that were deleted long enough ago are given up first; `drystone undelete` brings back the others.

    It has the data directory to itself: stop servers and workers first, or it says who is there. It may be interrupted
    at any moment, and run again. Packs are rewritten one after another, so it needs room for one or two more (64 MiB
    each). If a manifest cannot be read, nothing is removed.
    """
    from blockstore import clock
    from blockstore.garbage import Collecting
    from catalog.usecases import administration
    from httpapi.cli.admin.showing import print_facts, progress, say
    from httpapi.cli.output import print_json

    if not offline:
        raise click.UsageError("it wants the data to itself: stop every server and worker, then say --offline")
    how = Collecting(share=0.0 if everything else share, dry_run=dry_run)
    purpose = "admin gc --offline"
    with progress(quiet=chosen.quiet) as bars, opened(chosen, purpose, exclusive=True) as (store, records):
        done = administration.collect(
            store,
            records,
            how,
            bars,
            at=clock.now(),
            keep_deleted=chosen.settings.gc_keep_deleted if keep_deleted is None else keep_deleted,
            empty_catalog=empty_catalog,
        )
    if chosen.json:
        print_json(
            asdict(done.collected) | {"uploads_given_up": done.given_up, "deleted_images_given_up": done.expired}
        )
    else:
        for note in done.collected.notes:
            say(note)
        print_facts(_facts(done))
    return 1 if done.collected.notes else 0


def _facts(done: Collection) -> list[Fact]:
    from httpapi.cli.admin.showing import Fact, bytes_fact

    collected = done.collected
    return [
        Fact("done", "nothing, a dry run" if collected.dry_run else "yes"),
        Fact("uploads given up", done.given_up),
        Fact("deleted images given up", done.expired),
        Fact("blocks forgotten", collected.forgotten),
        bytes_fact("bytes forgotten", collected.forgotten_bytes),
        Fact("dead entries", collected.dead),
        bytes_fact("dead bytes", collected.dead_bytes),
        Fact("packs removed", collected.packs_dropped),
        Fact("packs rewritten", collected.packs_rewritten),
        Fact("blocks moved", collected.moved),
        Fact("manifests removed", collected.manifests_removed),
        Fact("journals removed", collected.journals_removed),
        bytes_fact("dead bytes left", collected.left),
        bytes_fact("bytes that would be freed, about" if collected.dry_run else "bytes freed", collected.freed),
    ]
