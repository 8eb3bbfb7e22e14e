"""How lines of descent look: a tree for people, lines or JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpapi.cli.output import SHORT_ID, human_size, is_terminal, print_json, print_lines, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text
    from rich.tree import Tree

    from httpapi.cli.verb import Choices
    from httpapi.client.lineage import Branch
    from httpapi.wire.lineage import LineageRecord


def print_lines_of_descent(choices: Choices, branches: Sequence[Branch]) -> None:
    """All of them, in the form that was chosen."""
    records = [record for branch in branches for record in branch.records()]
    if choices.json:
        print_json([record.to_json() for record in records])
    elif choices.quiet:
        print_lines((record.id,) for record in records)
    elif is_terminal():
        from rich.console import Console

        console = Console()
        for branch in branches:
            console.print(drawn(branch))
    else:
        print_lines(_line(record) for record in records)


def drawn(branch: Branch) -> Tree:
    """A rich tree; ids shortened to what the verbs accept."""
    from rich.tree import Tree

    root = Tree(_label(branch))
    # No recursion: a line may be long.
    open_branches = [(root, branch)]
    while open_branches:
        node, here = open_branches.pop()
        open_branches += [(node.add(_label(child)), child) for child in here.children]
    return root


def _label(branch: Branch) -> Text:
    from rich.text import Text

    # Text, not str: a name may hold what rich takes for markup.
    short = branch.id[:SHORT_ID]
    if branch.record is None:
        return Text(f"deleted or not visible  {short}", style="dim")
    label = Text(printable(branch.record.name or "-"), style="bold")
    label.append(f"  {short}  ", style="dim")
    label.append(_sizes(branch.record), style="not bold")
    return label


def _sizes(record: LineageRecord) -> str:
    if record.size is None:
        return printable(record.status)
    if record.parent is None or record.changed_size is None:
        return human_size(record.size)
    return f"{human_size(record.size)}, changed {human_size(record.changed_size)}"


def _line(record: LineageRecord) -> tuple[object, ...]:
    parent = record.parent.id if record.parent else None
    return record.id, record.name, parent, record.size, record.changed_size
