"""How far a transfer is: a bar on a terminal, nothing elsewhere; notes always, on standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from httpapi.cli.output import human_size, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

    from httpapi.client.report import Report


@contextmanager
def reporting(verb: str, *, quiet: bool) -> Iterator[Report]:
    """The report for one transfer; `verb` stands before the bar."""
    if quiet or not sys.stderr.isatty():
        yield _NoBar(quiet=quiet)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[compared]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, verb)


class _NoBar:
    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def begin(self, total: int | None) -> None:
        """Nothing to show."""

    def moved(self, done: int) -> None:
        """Nothing to show."""

    def compared(self, unchanged: int, moved: int) -> None:
        """Nothing to show."""

    def tell(self, sentence: str) -> None:
        """One line, for whoever did not ask for less."""
        if not self._quiet:
            self.note(sentence)

    def note(self, sentence: str) -> None:
        """One line."""
        click.echo(f"drystone: {printable(sentence)}", err=True)


class _Bar:
    def __init__(self, progress: Progress, verb: str) -> None:
        self._progress = progress
        # The total comes with `begin`; until then, and for streams of unknown size, the bar pulses.
        self._task = progress.add_task(verb, total=None, compared="")

    def begin(self, total: int | None) -> None:
        """Now the bar knows its length."""
        self._progress.update(self._task, total=total)

    def moved(self, done: int) -> None:
        """Draws at its own pace, however often it is told."""
        self._progress.update(self._task, completed=done)

    def compared(self, unchanged: int, moved: int) -> None:
        """What need not move, and what has moved of the rest, compressed."""
        told = f"{human_size(unchanged)} unchanged, {human_size(moved)} moved"
        self._progress.update(self._task, compared=told)

    def tell(self, sentence: str) -> None:
        """One line above the bar."""
        self.note(sentence)

    def note(self, sentence: str) -> None:
        """One line above the bar."""
        self._progress.console.print(f"drystone: {printable(sentence)}", markup=False, highlight=False, soft_wrap=True)
