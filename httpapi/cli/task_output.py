"""How tasks look: a table or bars for people, tab-separated lines or JSON for programs."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from blockstore import clock
from httpapi.cli.output import SHORT_ID, is_terminal, json_text, print_json, print_lines, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from rich.progress import Progress, TaskID

    from httpapi.cli.verb import Choices
    from httpapi.wire.tasks import TaskRecord

    Names: TypeAlias = Mapping[str, str | None]
    Show: TypeAlias = Callable[[Sequence[TaskRecord], Names], None]

_AGES: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def print_tasks(choices: Choices, tasks: Sequence[TaskRecord], names: Names) -> None:
    """All of them, in the form that was chosen."""
    if choices.json:
        print_json([task.to_json() for task in tasks])
    elif choices.quiet:
        print_lines((task.id,) for task in tasks)
    elif is_terminal():
        from rich.console import Console

        Console().print(tasks_table(tasks, names, clock.now()))
    else:
        print_lines(_line(task, names) for task in tasks)


def print_cancelled(choices: Choices, task: TaskRecord) -> None:
    """What became of a task that was to be cancelled."""
    if choices.json:
        print_json(task.to_json())
    elif choices.quiet or not is_terminal():
        click.echo(task.id)
    else:
        click.echo(f"{task.id}: {printable(task.message) if task.is_over else 'will end within a second or so'}")


def tasks_table(tasks: Sequence[TaskRecord], names: Names, now: datetime) -> object:
    """A rich table of tasks, ids shortened to what --cancel accepts."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "TYPE", "IMAGE", "STATUS"):
        table.add_column(heading, no_wrap=heading != "IMAGE")
    table.add_column("DONE", justify="right", no_wrap=True)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("MESSAGE")
    for task in tasks:
        done = "-" if task.progress is None or task.status == "failure" else f"{task.progress} %"
        cells = (task.id[:SHORT_ID], task.type, _image(task, names), task.status, done, age(task.created_at, now))
        # Text, not str: a name may hold what rich takes for markup.
        table.add_row(*(Text(printable(cell)) for cell in (*cells, task.message)))
    return table


def age(created: str, now: datetime) -> str:
    """How long ago a time on the wire is, in its largest unit: 5 min."""
    try:
        seconds = int((now - datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)).total_seconds())
    except ValueError:
        return "-"
    return next((f"{seconds // size} {unit}" for size, unit in _AGES if seconds >= size), "0 s")


@contextmanager
def watching(choices: Choices) -> Iterator[Show]:
    """Gives what is to be called with all tasks whenever they were looked at."""
    if choices.json or choices.quiet or not sys.stderr.isatty():
        yield _Lines(choices).show
        return
    with _bars() as show:
        yield show


@contextmanager
def waiting(choices: Choices) -> Iterator[Show]:
    """The same for a verb whose result comes after: bars on a terminal, nothing elsewhere."""
    if choices.json or choices.quiet or not sys.stderr.isatty():
        yield _show_nothing
        return
    with _bars() as show:
        yield show


def _show_nothing(_tasks: Sequence[TaskRecord], _names: Names) -> None:
    """Nobody looks."""


@contextmanager
def _bars() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    # The sentence goes last, so that a narrow terminal cuts that and no number.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bars(progress).show


class _Lines:
    """A line or an object on standard output for each change; nothing but ids of ended ones when quiet."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._shown: dict[str, TaskRecord] = {}

    def show(self, tasks: Sequence[TaskRecord], names: Names) -> None:
        """Those that have changed since the last time."""
        for task in tasks:
            if self._shown.get(task.id) == task:
                continue
            self._shown[task.id] = task
            if self._choices.json:
                click.echo(json_text(task.to_json()))
            elif not self._choices.quiet:
                print_lines([_line(task, names)])
            elif task.is_over:
                click.echo(task.id)
        # Whoever reads the lines wants each when it comes.
        sys.stdout.flush()


class _Bars:
    """A bar a task on standard error; those that are over stay, full or stopped."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def show(self, tasks: Sequence[TaskRecord], names: Names) -> None:
        """All of them."""
        for task in tasks:
            if task.id not in self._bars:
                named = f"{task.type} {printable(_image(task, names))}"
                self._bars[task.id] = self._progress.add_task(named, total=100, message="")
            bar = self._bars[task.id]
            told = f"{task.status}: {printable(task.message)}" if task.is_over else printable(task.message)
            self._progress.update(bar, completed=task.progress or 0, message=told)
            if task.is_over:
                self._progress.stop_task(bar)


def _image(task: TaskRecord, names: Names) -> str:
    if task.image_id is None:
        return "-"
    return names.get(task.image_id) or task.image_id[:SHORT_ID]


def _line(task: TaskRecord, names: Names) -> tuple[object, ...]:
    name = "" if task.image_id is None else names.get(task.image_id)
    progress = "" if task.progress is None else task.progress
    return task.id, task.type, task.image_id, name, task.status, progress, task.created_at, task.message
