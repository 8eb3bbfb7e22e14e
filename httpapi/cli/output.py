"""How results look: for people on a terminal, as tab-separated lines for programs, as JSON for both."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from httpapi.wire.deleted import DeletedRecord
    from httpapi.wire.images import ImageRecord

SHORT_ID = 8


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def print_json(document: object) -> None:
    """One document, indented on a terminal, else on one line."""
    click.echo(json_text(document, indent=2 if is_terminal() else None))


def json_text(document: object, *, indent: int | None = None) -> str:
    """JSON for people where it can be written as UTF-8, which a file's name need not be."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    return text if is_utf8(text) else json.dumps(document, indent=indent)


def is_utf8(text: str) -> bool:
    """Whether `text` can be sent or written; bytes of an argument that are no UTF-8 come as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def print_lines(rows: Iterable[Sequence[object]]) -> None:
    """Tab-separated values, one row a line; what would break a line is escaped."""
    for row in rows:
        click.echo("\t".join(printable(value) for value in row))


def print_images(images: Sequence[ImageRecord]) -> None:
    """A table of images on a terminal, else lines of id, name, status, size in bytes and time of creation."""
    if not is_terminal():
        print_lines(
            (image.id, image.name or "", image.status, "" if image.size is None else image.size, image.created_at)
            for image in images
        )
        return
    from rich.console import Console

    Console().print(images_table(images))


def images_table(images: Sequence[ImageRecord]) -> object:
    """A rich table of images, ids shortened to what the verbs accept."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "NAME", "STATUS"):
        table.add_column(heading, no_wrap=heading == "ID")
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("CREATED", no_wrap=True)
    for image in images:
        cells = (
            image.id[:SHORT_ID],
            printable(image.name or "-"),
            printable(image.status),
            "-" if image.size is None else human_size(image.size),
            printable(image.created_at.replace("T", " ").removesuffix("Z")),
        )
        # Text, not str: a name may hold what rich takes for markup.
        table.add_row(*(Text(cell) for cell in cells))
    return table


def print_deleted(images: Sequence[DeletedRecord]) -> None:
    """A table of deleted images on a terminal, else lines of id, name, size in bytes, and the times of their end."""
    if not is_terminal():
        print_lines(
            (image.id, image.name, "" if image.size is None else image.size, image.deleted_at, image.kept_until)
            for image in images
        )
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "NAME", "SIZE", "DELETED", "KEPT UNTIL"):
        table.add_column(heading, no_wrap=heading != "NAME", justify="right" if heading == "SIZE" else "left")
    for image in images:
        size = "-" if image.size is None else human_size(image.size)
        times = (each.replace("T", " ").removesuffix("Z") for each in (image.deleted_at, image.kept_until))
        cells = (image.id[:SHORT_ID], printable(image.name or "-"), size, *map(printable, times))
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)


def print_attributes(attributes: Mapping[str, object]) -> None:
    """One attribute a line: name and value."""
    if not is_terminal():
        print_lines(attributes.items())
        return
    width = max(len(name) for name in attributes)
    for name, value in attributes.items():
        click.echo(f"{printable(name):<{width}}  {printable(value)}")


def printable(value: object) -> str:
    """Text that cannot break a line or command the terminal, whoever named the image."""
    if isinstance(value, list | tuple):
        return ", ".join(printable(each) for each in value)
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def human_size(size: float) -> str:
    """Bytes for people: 1.7 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def summary(done: str, image: ImageRecord, size: int, seconds: float) -> str:
    """The sentence that closes a transfer for people."""
    rate = human_size(size / seconds) if seconds > 0 else human_size(size)
    return f"{done} {printable(image.name or image.id)}: {human_size(size)} in {seconds:.1f} s ({rate}/s)"
