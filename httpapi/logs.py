"""How the server's log looks: lines for people, or JSON, one object a line; in both a record is one unit.

Much of what is logged was chosen by somebody outside: paths, names, what a broken request held. In a text line every
character that is not printable is written as its escape, and a trace's lines are indented: nobody can begin a line of
their own or command the terminal. Each line that a request caused has that request's id, in the threads that work for
it too.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from httpapi.cause import CAUSE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_MARGIN: Final = "    "


class _Handler(logging.StreamHandler["TextIO"]):
    """Ours, so that setting up a second time takes the place of the first."""


def set_up(*, level: str, form: str, name: str = "", stream: TextIO | None = None) -> None:
    """Send every logger's lines to `stream`, standard error by default.

    `level` is debug, info, warning or error, `form` is text or json; `name` tells one process of several.
    """
    root = logging.getLogger()
    for before in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(before)
    handler = _Handler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter(name) if form == "json" else TextFormatter(name))
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Which migration steps run is said by the catalog when they fail.
    logging.getLogger("alembic").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.INFO if level == "debug" else logging.WARNING)


class TextFormatter(logging.Formatter):
    """Time, level, logger, the process's name if there are several, the request's id in brackets, the message."""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self._name = f" {name}" if name else ""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and indented ones below it for a trace."""
        cause = CAUSE.get()
        ids = "" if cause is None else " ".join(each for each in (cause.request_id, cause.global_id) if each)
        head = f"{_time_of(record)} {record.levelname:<7} {record.name}{self._name}{f' [{ids}]' if ids else ''} "
        below = "".join(f"\n{_MARGIN}{one_line(line)}" for line in _trace_of(self, record).splitlines())
        return head + one_line(record.getMessage()) + below


class JsonFormatter(logging.Formatter):
    """One object: time, level, logger, message; process, request_id, global_request_id where there are any.

    A request's own line has its fields beside them; an error's trace is one text, `exception`.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        cause = CAUSE.get()
        document: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._name:
            document["process"] = self._name
        if cause is not None:
            document["request_id"] = cause.request_id
            if cause.global_id is not None:
                document["global_request_id"] = cause.global_id
        access: Mapping[str, object] | None = getattr(record, "access", None)
        if access is not None:
            document |= access
        if trace := _trace_of(self, record):
            document["exception"] = trace
        # A path may hold bytes that are no UTF-8: what is read as JSON must not stumble over them.
        return _as_utf8(json.dumps(document, ensure_ascii=False, default=str))


def one_line(text: str) -> str:
    """`text` with the escape of each character that is not printable, the end of a line among them."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _time_of(record: logging.LogRecord) -> str:
    """RFC 3339, in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _trace_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    trace = formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
    stack = formatter.formatStack(record.stack_info) if record.stack_info else ""
    return "\n".join(each for each in (trace, stack) if each)


def _as_utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
