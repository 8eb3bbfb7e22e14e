"""How the host verbs show what goes on and what came of it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from blockstore.progress import Silent
from httpapi.cli.output import human_size, is_terminal, print_lines, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from blockstore.findings import Verified
    from blockstore.progress import Progress
    from catalog.health import HarmedImage

MOST_SHOWN: Final = 50
"""Findings that are listed; --json lists all."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of a report: what it is, the value for programs, and for people if that is another text."""

    name: str
    value: object
    text: str | None = None


def bytes_fact(name: str, size: int) -> Fact:
    """A size: a number for programs, with a unit for people."""
    return Fact(name, size, human_size(size))


def time_fact(name: str, at: int) -> Fact:
    """A time, given in microseconds since 1970 UTC, 0 for never."""
    text = datetime.fromtimestamp(at // 1_000_000, UTC).isoformat() if at else None
    return Fact(name, text, text or "never")


def ratio(over: int, under: int) -> float | None:
    """How many times, with two digits; None where there is nothing to divide by."""
    return round(over / under, 2) if under else None


def print_facts(facts: Sequence[Fact]) -> None:
    """Aligned on a terminal; elsewhere name, tab, value, one a line."""
    if not is_terminal():
        print_lines((fact.name, "" if fact.value is None else fact.value) for fact in facts)
        return
    width = max(len(fact.name) for fact in facts)
    for fact in facts:
        text = fact.text
        if text is None:
            text = "-" if fact.value is None else f"{fact.value:,}" if isinstance(fact.value, int) else str(fact.value)
        click.echo(f"{fact.name:<{width}}  {printable(text)}")


def print_findings(looked: Verified) -> None:
    """What is wrong, a line each with the place."""
    for finding in looked.findings[:MOST_SHOWN]:
        where = f" bytes {finding.begins}-{finding.ends}" if finding.ends else ""
        block = f", block {finding.block}" if finding.block else ""
        end = " (no image needs it: `drystone admin gc --all` removes it)" if block and finding.harmless else ""
        click.echo(f"{printable(finding.file)}{where}: {printable(finding.what)}{block}{end}")
    if looked.found > MOST_SHOWN:
        click.echo(f"and {looked.found - MOST_SHOWN} more: --json lists them")


def print_harmed(harmed: Sequence[HarmedImage]) -> None:
    """The images that cannot be read whole, a line each, and what can be done; nothing if there are none."""
    if not harmed:
        return
    click.echo("Images that cannot be read whole (id, name, status, blocks that are damaged or missing):")
    print_lines((image.id, image.name or "", image.status, image.blocks or "manifest") for image in harmed)
    if any(image.blocks for image in harmed):
        say("`drystone admin repair --from FILE|URL|IMAGE` stores blocks anew from where their bytes still are")
    if not all(image.blocks for image in harmed):
        say("where it says manifest, no copy of a list of blocks can be used: push these images anew")


def say(sentence: str) -> None:
    """A note, on standard error."""
    click.echo(f"drystone: {printable(sentence)}", err=True)


@contextmanager
def progress(*, quiet: bool, tell: Callable[[str], None] = say) -> Iterator[Progress]:
    """Bars on a terminal, else nothing but notes, which `tell` gets."""
    if quiet or not sys.stderr.isatty():
        yield _Notes(tell)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as AllBars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with AllBars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


@dataclass(frozen=True, slots=True)
class _Notes(Silent):
    tell: Callable[[str], None]

    def note(self, sentence: str) -> None:
        """One line."""
        self.tell(sentence)


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._total = 0
        self._unit = ""

    def begin(self, what: str, total: int, unit: str = "") -> None:
        """A new bar below; the one before is full."""
        if self._task is not None:
            self._bars.update(self._task, completed=self._total)
        self._total, self._unit = total, unit
        self._task = self._bars.add_task(what, total=total or None, amount="")

    def moved(self, done: int) -> None:
        """Draws at its own pace, however often it is told."""
        assert self._task is not None
        amount = human_size(done) if self._unit == "B" else f"{done:,}"
        self._bars.update(self._task, completed=done, amount=amount)

    def note(self, sentence: str) -> None:
        """One line above the bars."""
        self._bars.console.print(f"drystone: {printable(sentence)}", markup=False, highlight=False, soft_wrap=True)
