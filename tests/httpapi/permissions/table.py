"""The table as text: cells into lines that say the same of several statuses and visibilities at once, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.httpapi.permissions.world import CALLERS, STATUSES, VISIBILITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """One question: may this caller do it to an image of this visibility in this status?"""

    operation: str
    visibility: str
    status: str
    caller: str


def parse(text: str) -> dict[Cell, str]:
    """The cells of a table; a cell that stands in two lines is an error, and so is a line that is none."""
    cells: dict[Cell, str] = {}
    operation = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            operation = line
            continue
        visibilities, statuses, answers = (part.split() for part in line.split("|"))
        for visibility in VISIBILITIES if visibilities == ["any"] else visibilities:
            for status in STATUSES if statuses == ["any"] else statuses:
                for caller, answer in zip(CALLERS, answers, strict=True):
                    cell = Cell(operation, visibility, status, caller)
                    assert cell not in cells, cell
                    cells[cell] = answer
    return cells


def text_of(cells: Mapping[Cell, str]) -> str:
    """The table of these cells."""
    lines = ["#" + " " * 67 + "| " + "".join(caller.ljust(_WIDTH) for caller in CALLERS).rstrip()]
    for operation in dict.fromkeys(cell.operation for cell in cells):
        lines += ["", operation, *_rows(cells, operation)]
    return "\n".join(lines) + "\n"


def _rows(cells: Mapping[Cell, str], operation: str) -> Iterator[str]:
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for status in STATUSES:
        answers = tuple(
            tuple(cells[Cell(operation, visibility, status, caller)] for caller in CALLERS)
            for visibility in VISIBILITIES
        )
        alike.setdefault(answers, []).append(status)
    for answers, statuses in alike.items():
        same: dict[tuple[str, ...], list[str]] = {}
        for visibility, line in zip(VISIBILITIES, answers, strict=True):
            same.setdefault(line, []).append(visibility)
        for line, visibilities in same.items():
            told = "".join(answer.ljust(_WIDTH) for answer in line).rstrip()
            yield f"  {_names(visibilities, VISIBILITIES):24}| {_names(statuses, STATUSES):40}| {told}"


def _names(some: Sequence[str], every: Sequence[str]) -> str:
    return "any" if len(some) == len(every) else " ".join(some)
