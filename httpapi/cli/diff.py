"""`drystone diff`: where two images or files differ."""

from __future__ import annotations

from typing import Final

import click

from httpapi.cli.verb import Choices, client_verb, run

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone diff debian ./debian-12.raw
  drystone diff 3f9a02 7c1b55 --json | jq .changed
"""


@click.command(epilog=EXAMPLES)
@click.argument("a")
@click.argument("b")
@client_verb
def diff(choices: Choices, a: str, b: str) -> None:
    """Tell where B differs from A; each is an IMAGE, or a file or block device.

    What names a file that exists is that file; an image of the same name is reached by its id. Whole blocks are
    compared by their BLAKE3, of the image's block size or else of 64 KiB: never too little is told, sometimes too much.
    Nothing is told of what lies beyond B's end.

    Prints a line an extent, offset, length (bytes) and data or zeros, as B has them there, and how much it is together
    on standard error; with --json an object with a, b, size_a, size_b, changed and zeros (bytes) and extents.
    """
    from httpapi.cli.output import human_size, print_json, print_lines
    from httpapi.cli.progress import reporting
    from httpapi.client.transfers import diff_disks

    with reporting("diff", quiet=choices.quiet) as report:
        found = run(choices, lambda api: diff_disks(api, a, b, report, project=choices.project))
    totals = found.totals
    if choices.json:
        print_json(
            {
                "a": found.a,
                "b": found.b,
                "size_a": found.size_a,
                "size_b": found.size_b,
                "changed": totals.changed,
                "zeros": totals.zeros,
                "extents": [
                    {"offset": each.offset, "length": each.length, "zero": each.zero} for each in found.extents
                ],
            },
        )
        return
    print_lines((each.offset, each.length, "zeros" if each.zero else "data") for each in found.extents)
    if not choices.quiet:
        told = f"{human_size(totals.changed)} of {human_size(found.size_b)} differ"
        click.echo(f"drystone: {told}, {human_size(totals.zeros)} of that are zeros", err=True)
