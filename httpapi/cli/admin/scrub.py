"""`drystone admin scrub`: everything read again from the disk, and what can be mended is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.usecases.scrubbing import ScrubReport
    from httpapi.cli.admin.showing import Fact

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin scrub --data /srv/images
  drystone admin scrub --rate 200MiB --threads 2
  drystone admin scrub --json | jq '.harmed[].name'

\b
The server does it by itself, with these settings:
  [scrub]
  every = "30d"
  rate = "32MiB"
"""


@click.command(epilog=EXAMPLES, short_help="Read everything again, and mend what can be.")
@click.option(
    "--rate", metavar="SIZE", callback=size_of, help="Read at most so much a second.  [default: the setting scrub_rate]"
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads that read.")
@click.option("--background", is_flag=True, hidden=True, help="As a server starts it: in its log, behind all others.")
@click.option("--met", multiple=True, hidden=True, help="Look at these manifests and at known damage only.")
@host_verb
def scrub(chosen: Chosen, *, rate: int | None, threads: int, background: bool, met: tuple[str, ...]) -> int:
    """Read every byte of all manifests and packs again, from the disk, and compare it with its hash.

    It may run beside servers; one scrubs a data directory at a time. A damaged manifest is written anew from its second
    copy. A damaged block is marked at once, so that nobody builds on it; if another copy of it lies somewhere, that one
    is used from now on, and whoever uploads its bytes again heals it (as `admin repair` does). The images that cannot
    be read whole are named.

    A pass that is interrupted goes on where it was, whoever starts the next one.

    Exit code 0: all is well now. 1: some image is harmed, or something else is damaged.
    """
    from blockstore.scrub import Scrubbing
    from catalog.usecases import scrubbing
    from httpapi.cli.admin.showing import progress, say
    from httpapi.cli.output import print_json

    tell: Callable[[str], None] = say
    if background:
        from httpapi.background import behind_all_others

        behind_all_others(chosen.settings, "scrub")
        tell = scrubbing.log.warning
    how = Scrubbing(chosen.settings.scrub_rate if rate is None else rate, threads)
    with (
        progress(quiet=chosen.quiet or background, tell=tell) as bars,
        opened(chosen, "admin scrub", exclusive=False) as (store, records),
    ):
        if met:
            scrubbing.mend_manifests(store, records, met)
            scrubbing.log_harm(scrubbing.look_for_harm(store, records))
            return 0
        found = scrubbing.scrub_all(store, records, how, bars)
    if background:
        scrubbing.log_report(found)
        return 0
    if chosen.json:
        print_json(_document(found))
    else:
        _tell(found)
    return 0 if found.scrubbed.clean and not found.harmed else 1


def _document(found: ScrubReport) -> dict[str, object]:
    scrubbed = found.scrubbed
    looked = scrubbed.looked
    return {
        "clean": scrubbed.clean and not found.harmed,
        "manifests": looked.manifests,
        "packs": looked.packs,
        "entries": looked.entries,
        "bytes": looked.bytes,
        "seconds": round(looked.seconds, 3),
        "found": looked.found,
        "findings": [asdict(finding) for finding in looked.findings],
        "mended": scrubbed.mended,
        "healed": scrubbed.healed,
        "marked_bad": looked.marked_bad,
        "bad_blocks": sorted(name.hex() for name in scrubbed.bad),
        "harmed": [asdict(image) for image in found.harmed],
        "notes": looked.notes,
    }


def _tell(found: ScrubReport) -> None:
    from httpapi.cli.admin.showing import print_facts, print_findings, print_harmed, say

    looked = found.scrubbed.looked
    print_findings(looked)
    print_harmed(found.harmed)
    for note in looked.notes:
        say(note)
    print_facts(_facts(found))


def _facts(found: ScrubReport) -> list[Fact]:
    from httpapi.cli.admin.showing import Fact, bytes_fact

    scrubbed = found.scrubbed
    return [
        Fact("verdict", "clean" if scrubbed.clean and not found.harmed else "damaged"),
        Fact("findings", scrubbed.looked.found),
        Fact("manifest files mended", len(scrubbed.mended)),
        Fact("blocks healed", scrubbed.healed),
        Fact("blocks marked bad", scrubbed.looked.marked_bad),
        Fact("bad blocks left", len(scrubbed.bad)),
        Fact("images harmed", len(found.harmed)),
        Fact("manifests", scrubbed.looked.manifests),
        Fact("packs", scrubbed.looked.packs),
        Fact("entries", scrubbed.looked.entries),
        bytes_fact("pack bytes read", scrubbed.looked.bytes),
        Fact("seconds", round(scrubbed.looked.seconds, 1)),
    ]
