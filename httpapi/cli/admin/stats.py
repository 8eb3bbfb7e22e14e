"""`drystone admin stats`: what is stored, and what it saves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened

if TYPE_CHECKING:
    from catalog.inventory import HeldCopies
    from catalog.usecases.administration import Stats
    from httpapi.cli.admin.showing import Fact

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin stats --data /srv/images
  drystone admin stats --json | jq .ratios.total
  drystone admin stats --garbage

\b
What the words mean:
  logical   the sizes of all images together that lie in our blocks
  copies    what images have in other stores, by store; those that are lost apart
  unique    different blocks, as they were before compression
  stored    the same blocks in packs, compressed
  dead      copies in packs that nothing names; garbage: blocks that no image needs
"""


@click.command(epilog=EXAMPLES, short_help="Count images, blocks, packs, and what is saved.")
@click.option("--garbage", is_flag=True, help="Find out how much no image needs; reads every manifest.")
@host_verb
def stats(chosen: Chosen, *, garbage: bool) -> None:
    """Count what is stored: images, blocks, packs, manifests, index, and how many times less than the images it is.

    It may run beside servers. Uploads that run meanwhile have entries that nothing names yet: they are counted as dead
    until they are acknowledged.
    """
    from catalog.usecases import administration
    from httpapi.cli.admin.showing import print_facts, progress
    from httpapi.cli.output import print_json

    with progress(quiet=chosen.quiet) as bars, opened(chosen, "admin stats", exclusive=False) as (store, records):
        found = administration.stats(store, records, bars, garbage=garbage)
    if chosen.json:
        print_json(asdict(found) | {"ratios": _ratios(found)})
    else:
        print_facts(_facts(found))


def _ratios(found: Stats) -> dict[str, float | None]:
    from httpapi.cli.admin.showing import ratio

    unique = found.store.unique
    return {
        "dedup": ratio(found.logical, unique.raw),
        "compression": ratio(unique.raw, unique.stored),
        "total": ratio(found.logical, found.store.disk),
    }


def _of(copies: HeldCopies) -> str:
    return f"in {copies.store}" if copies.status == "active" else f"{copies.status} in {copies.store}"


def _facts(found: Stats) -> list[Fact]:
    from httpapi.cli.admin.showing import Fact, bytes_fact, time_fact

    store = found.store
    facts = [
        Fact("images", sum(found.images.values())),
        *(Fact(f"images {status}", count) for status, count in sorted(found.images.items())),
        bytes_fact("logical bytes", found.logical),
        *(Fact(f"copies {_of(each)}", each.copies) for each in found.copies),
        *(bytes_fact(f"bytes {_of(each)}", each.bytes) for each in found.copies),
        Fact("unique blocks", store.unique.blocks),
        bytes_fact("unique bytes", store.unique.raw),
        bytes_fact("stored bytes", store.unique.stored),
        bytes_fact("disk bytes", store.disk),
        *(
            Fact(f"ratio {name}", value, None if value is None else f"{value}×")
            for name, value in _ratios(found).items()
        ),
    ]
    for what, piles in (("packs", store.packs), ("manifests", store.manifests), ("journals", store.journals)):
        for kind, pile in piles.items():
            facts += (Fact(f"{what} {kind}", pile.files), bytes_fact(f"{what} {kind} bytes", pile.bytes))
    facts += (
        Fact("dead entries", store.dead.blocks),
        bytes_fact("dead bytes", store.dead.stored),
        time_fact("packs verified since", store.verified.oldest),
        Fact("packs never verified", store.verified.never),
        time_fact("last scrub ended", store.verified.pass_ended),
        Fact("images harmed", None if found.health is None else len(found.health.harmed)),
        Fact("index rows", store.index.rows),
        bytes_fact("index bytes", store.index.bytes),
        Fact("index bytes a row", round(store.index.bytes / store.index.rows) if store.index.rows else None),
        Fact("index rows condemned", store.index.condemned),
        Fact("index rows bad", store.index.bad),
        Fact("leases", store.leases),
        # This one is none of those that matter.
        Fact("other processes", store.processes - 1),
    )
    if store.garbage is not None:
        facts += (Fact("garbage blocks", store.garbage.blocks), bytes_fact("garbage bytes", store.garbage.stored))
    return facts
