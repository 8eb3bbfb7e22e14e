"""`drystone stores`: where images' bytes may lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.verb import Choices, client_verb, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpapi.wire.stores import StoreRecord

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone stores
  drystone stores --json | jq -r '.[].id'
"""


@click.command(epilog=EXAMPLES)
@client_verb
def stores(choices: Choices) -> None:
    """List the places where images' bytes may lie, the heaviest first: images are read from there before others.

    Types, weights and where each one is are told to administrators and services alone.

    On a terminal a table; elsewhere one line a store: name, type, weight, `default` or `read-only`, and description,
    separated by tabs. --json prints an array of the service's records. A service that does not tell stores apart has
    one without a name: then there is nothing to list.
    """
    from httpapi.client.stores import list_stores

    found = run(choices, list_stores)
    if found is None and not choices.quiet:
        click.echo("drystone: this service does not tell stores apart", err=True)
    _print(choices, found or [])


def _print(choices: Choices, found: Sequence[StoreRecord]) -> None:
    from httpapi.cli.output import is_terminal, print_json, print_lines

    if choices.json:
        print_json([store.to_json(detail=store.type is not None) for store in found])
    elif choices.quiet:
        print_lines((store.id,) for store in found)
    elif is_terminal():
        from rich.console import Console

        Console().print(stores_table(found))
    else:
        print_lines(_cells(store) for store in found)


def stores_table(found: Sequence[StoreRecord]) -> object:
    """A rich table of stores."""
    from rich.table import Table
    from rich.text import Text

    from httpapi.cli.output import printable

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("NAME", "TYPE", "WEIGHT", "", "DESCRIPTION"):
        table.add_column(heading, justify="right" if heading == "WEIGHT" else "left")
    for store in found:
        # Text, not str: a description may hold what rich takes for markup.
        table.add_row(*(Text(printable(cell)) for cell in _cells(store)))
    return table


def _cells(store: StoreRecord) -> Sequence[object]:
    marks = [word for word, holds in (("default", store.default), ("read-only", store.read_only)) if holds]
    weight = "" if store.weight is None else store.weight
    return store.id, store.type or "", weight, " ".join(marks), store.description or ""
