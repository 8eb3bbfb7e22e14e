"""`drystone admin chown`: what one project owns becomes another's."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, host_verb, opened

if TYPE_CHECKING:
    from catalog.model.ownership import Handed
    from httpapi.cli.admin.showing import Fact

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin chown --from default --to lab --dry-run
  drystone admin chown --from default --to lab
  drystone admin chown --from default --to lab 8d6f1a3c-93a1-4a53-8c3d-0b6f4f5f0b11
"""


@click.command(epilog=EXAMPLES, short_help="Give a project's images to another project.")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--from", "giver", required=True, metavar="PROJECT", help="The project that owns them now.")
@click.option("--to", "taker", required=True, metavar="PROJECT", help="The project that is to own them.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be given.")
@host_verb
def chown(chosen: Chosen, *, images: tuple[str, ...], giver: str, taker: str, dry_run: bool) -> None:
    """Give all that a project owns to another one: when identities change, such as from `default` of identity none.

    With IMAGE, full ids, only these. Deleted images that can be brought back go too, uploads under way, tasks, and what
    is shared with the project. Bytes, ids, names and times stay as they are.

    It may run beside servers, be interrupted, and be run again: what was given stays given. What the project's callers
    make while it runs stays theirs, so change the identity first.
    """
    from catalog.model.ownership import Handed
    from catalog.usecases import chown as handing
    from httpapi.cli.admin.showing import print_facts, say
    from httpapi.cli.output import print_json

    wanted = handing.handover(giver, taker, images)

    def report(given: Handed) -> None:
        if not (chosen.quiet or chosen.json):
            say(f"{given.images} images and {given.deleted} deleted ones given so far")

    with opened(chosen, "admin chown", exclusive=False) as (_, records):
        done = handing.hand_over(records, wanted, dry_run=dry_run, report=report)
    if done == Handed() and not chosen.quiet:
        say(f"project {giver!r} has nothing to give: is that its name?")
    if chosen.json:
        print_json({"from": giver, "to": taker, "dry_run": dry_run} | asdict(done))
    else:
        print_facts(_facts(done))


def _facts(done: Handed) -> list[Fact]:
    from httpapi.cli.admin.showing import Fact

    return [
        Fact("images", done.images),
        Fact("deleted images", done.deleted),
        Fact("former ids", done.former),
        Fact("uploads", done.uploads),
        Fact("tasks", done.tasks),
        Fact("shared with it", done.members),
        Fact("metadata namespaces", done.namespaces),
    ]
