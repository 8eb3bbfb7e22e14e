"""One line a request, written when it is over: what really left, and whether it was all.

The line is opened by the first middleware and closed by the connection after the answer is out. An answer that was
begun and not ended, whoever gave up, is marked `cut`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from aiohttp import web

from blockstore.clock import monotonic

_log = logging.getLogger("drystone.access")


@dataclass(slots=True)
class AccessLine:
    """A request's line: whoever streams an answer counts `sent`, in bytes of body, and says when it is `cut`."""

    method: str
    path: str
    request_id: str
    sent: int = 0
    cut: bool = False
    began: float = field(default_factory=monotonic)
    written: bool = False

    def write(self, status: int | None) -> None:
        """Write the line, once; `status` None when there was no answer."""
        if self.written:
            return
        self.written = True
        _log.info(
            "%s %s %s %d bytes%s %.3f s %s",
            self.method,
            self.path,
            "-" if status is None else status,
            self.sent,
            " cut" if self.cut else "",
            monotonic() - self.began,
            self.request_id,
        )

    def answered(self, response: web.StreamResponse, *, lost: bool) -> None:
        """Write the line of an answer that is out, or that was `lost` on the way because the client had gone."""
        if lost:
            self.cut = True
        elif isinstance(response, web.Response) and self.method != "HEAD":
            self.sent = len(response.body) if isinstance(response.body, bytes) else 0
        self.write(response.status)


ACCESS_LINE = web.RequestKey("access_line", AccessLine)
