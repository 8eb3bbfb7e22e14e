"""`drystone admin verify`: is everything there, and as it was written?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened, size_of

if TYPE_CHECKING:
    from catalog.usecases.administration import Verification
    from httpapi.cli.admin.showing import Fact

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin verify --data /srv/images
  drystone admin verify --read-data --rate 100MiB
  drystone admin verify --read-data --json | jq '.harmed[].id'

\b
A weekly look at every byte, in cron:
  0 3 * * 0  drystone admin verify --data /srv/images --read-data --rate 50MiB --quiet
"""


@click.command(epilog=EXAMPLES, short_help="Compare index, packs, manifests and catalog; re-read everything.")
@click.option("--read-data", is_flag=True, help="Read every byte again and compare its hash.")
@click.option("--rate", metavar="SIZE", callback=size_of, help="Read at most so much a second, such as 100MiB.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads that read and hash.  [default: one a core]")
@click.option("--dry-run", is_flag=True, help="Mark nothing: damaged blocks stay in use for deduplication.")
@host_verb
def verify(chosen: Chosen, *, read_data: bool, rate: int | None, threads: int | None, dry_run: bool) -> int:
    """Compare index, packs, manifests and catalog with each other; with --read-data, re-read and re-hash every byte.

    It may run beside servers, which lose some speed to it; --rate leaves them more. Each finding names the file and the
    place; then come the images that cannot be read whole. A damaged block is marked, so that the next upload of the
    same bytes stores it anew, which heals every image that has it.

    Exit code 0: nothing is wrong. 1: something is, or it could not be verified.
    """
    from blockstore.verify import Wanted
    from catalog.usecases import administration
    from httpapi.cli.admin.showing import progress
    from httpapi.cli.output import print_json

    wanted = Wanted(data=read_data, rate=rate, threads=threads, mark=not dry_run)
    with progress(quiet=chosen.quiet) as bars, opened(chosen, "admin verify", exclusive=False) as (store, records):
        found = administration.verify_all(store, records, wanted, bars)
    if chosen.json:
        print_json(_document(found))
    else:
        _tell(found)
    return 0 if found.verified.clean else 1


def _document(found: Verification) -> dict[str, object]:
    verified = found.verified
    return {
        "clean": verified.clean,
        "read_data": verified.data,
        "manifests": verified.manifests,
        "packs": verified.packs,
        "entries": verified.entries,
        "dead_entries": verified.dead_entries,
        "rows": verified.rows,
        "bytes": verified.bytes,
        "seconds": round(verified.seconds, 3),
        "found": verified.found,
        "findings": [asdict(finding) for finding in verified.findings],
        "harmed": [asdict(image) for image in found.harmed],
        "marked_bad": verified.marked_bad,
        "notes": verified.notes,
    }


def _tell(found: Verification) -> None:
    from httpapi.cli.admin.showing import print_facts, print_findings, print_harmed, say

    verified = found.verified
    print_findings(verified)
    print_harmed(found.harmed)
    for note in verified.notes:
        say(note)
    print_facts(_facts(found))


def _facts(found: Verification) -> list[Fact]:
    from httpapi.cli.admin.showing import Fact, bytes_fact

    verified = found.verified
    gib = verified.bytes / (1 << 30)
    return [
        Fact("verdict", "clean" if verified.clean else "damaged"),
        Fact("findings", verified.found),
        Fact("images harmed", len(found.harmed)),
        Fact("blocks marked bad", verified.marked_bad),
        Fact("manifests", verified.manifests),
        Fact("packs", verified.packs),
        Fact("entries", verified.entries),
        Fact("dead entries", verified.dead_entries),
        Fact("index rows", verified.rows),
        bytes_fact(
            "pack bytes, every one read" if verified.data else "pack bytes, headers and tables read", verified.bytes
        ),
        Fact("seconds", round(verified.seconds, 1)),
        Fact("seconds a GiB of packs", round(verified.seconds / gib, 2) if gib else None),
    ]
