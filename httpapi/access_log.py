"""One line a request, written when it is over: what really left, and whether it was all.

The line is opened by the first middleware and closed by the connection after the answer is out. An answer that was
begun and not ended, whoever gave up, is marked `cut`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from blockstore.clock import monotonic
from catalog.tickets import MARK, ticket_in
from httpapi.wire.tickets import SIGNED

if TYPE_CHECKING:
    from collections.abc import Callable

ACCESS_LOGGER = "drystone.access"
_log = logging.getLogger(ACCESS_LOGGER)

# A request may name its target as a whole address, with a name and a password in it.
_BEFORE_PATH = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_LONGEST = 1024
# Also where a character of it is another one: the rest is as good as the whole.
_BELOW_SIGNED = re.compile(rf"(?<={SIGNED}/)[^/]+")
_AFTER_MARK = re.compile(rf"{MARK}[A-Za-z0-9_-]*")


@dataclass(slots=True)
class AccessLine:
    """A request's line: whoever streams an answer counts `sent`, in bytes of body, and says when it is `cut`.

    `client` is the caller's address; `user` and `project` are told where it is known who calls, `url_key`, a key's id,
    where a ticket let in. `received` counts the image data that came; `on_end` is told status and seconds when the line
    is written.
    """

    method: str
    path: str
    request_id: str
    client: str = "-"
    user: str | None = None
    project: str | None = None
    url_key: str | None = None
    sent: int = 0
    received: int = 0
    cut: bool = False
    began: float = field(default_factory=monotonic)
    written: bool = False
    on_end: Callable[[int | None, float], None] | None = None

    def write(self, status: int | None) -> None:
        """Write the line, once; `status` None when there was no answer."""
        if self.written:
            return
        self.written = True
        seconds = monotonic() - self.began
        if self.on_end is not None:
            self.on_end(status, seconds)
        _log.info(
            "%s %s %s %d bytes%s %.3f s %s %s",
            self.method,
            self.path,
            "-" if status is None else status,
            self.sent,
            " cut" if self.cut else "",
            seconds,
            self.client,
            self._who(),
            extra={"access": self._fields(status, seconds)},
        )

    def _who(self) -> str:
        if self.url_key is not None:
            return f"key:{self.url_key}"
        return "-" if self.user is None else f"{self.user}/{self.project}"

    def _fields(self, status: int | None, seconds: float) -> dict[str, object]:
        return {
            "method": self.method,
            "path": self.path,
            "status": status,
            "bytes": self.sent,
            "seconds": round(seconds, 6),
            "client": self.client,
            "user": self.user,
            "project": self.project,
            "url_key": self.url_key,
            "cut": self.cut,
        }

    def answered(self, response: web.StreamResponse, *, lost: bool) -> None:
        """Write the line of an answer that is out, or that was `lost` on the way because the client had gone."""
        if lost:
            self.cut = True
        elif isinstance(response, web.Response) and self.method != "HEAD":
            self.sent = len(response.body) if isinstance(response.body, bytes) else 0
        self.write(response.status)


def logged_path(target: str) -> str:
    """A request's target as the log may have it: the path alone, since queries and addresses can hold secrets."""
    path = without_tickets(re.split("[?#]", _BEFORE_PATH.sub("", target), maxsplit=1)[0]) or "/"
    return path if len(path) <= _LONGEST else path[:_LONGEST] + "..."


def without_tickets(path: str) -> str:
    """A path with what may be told of a ticket, key and image, in its place; of a spoilt one nothing."""
    plain = unquote(path)
    if MARK not in plain and SIGNED not in plain:
        return path
    return _AFTER_MARK.sub(_told, _BELOW_SIGNED.sub(_told, plain))


def _told(found: re.Match[str]) -> str:
    ticket = ticket_in(found[0])
    return "(hidden)" if ticket is None else ticket.told


ACCESS_LINE = web.RequestKey("access_line", AccessLine)
