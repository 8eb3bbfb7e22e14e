"""Counting requests and the image data that they carry: once a request, and once a second while one is long.

A transfer of an hour must not show only at its end, so what is open is looked at whenever the figures are sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from httpapi.admission import METHODS
from httpapi.metrics.instruments import IN_FLIGHT, RECEIVED, REQUEST_SECONDS, REQUESTS, SENT, WORKER_REQUESTS

if TYPE_CHECKING:
    from aiohttp import web
    from prometheus_client import Counter, Histogram

    from httpapi.access_log import AccessLine

_DATA: Final = ("/file", "/signed/{ticket}/{file_name}")
_FIGURES: Final = "/metrics"
_WITH_DATA: Final = frozenset({200, 206, None})
OTHER: Final = "other"
"""The method of a request that HTTP does not define, and the route of a path that is none."""


@dataclass(slots=True, eq=False)
class Measured:
    """One open request; its line in the log knows what was sent and received so far."""

    meter: RequestMeter
    line: AccessLine
    method: str
    route: str
    received: int = 0
    sent: int = 0

    def ended(self, status: int | None, seconds: float) -> None:
        """The answer is out, or there is none (status None)."""
        self.meter.ended(self, status, seconds)

    def flush(self) -> None:
        """Count the image data that has moved since the last time."""
        if self.route.endswith(_DATA):
            # What was counted and then did not leave is made up for by what comes next.
            received, sent = max(0, self.line.received - self.received), max(0, self.line.sent - self.sent)
            self.received += received
            self.sent += sent
            RECEIVED.inc(received)
            SENT.inc(sent)

    def flush_last(self, status: int | None) -> None:
        """As `flush`, when the answer is known: an error's text is no image data."""
        if status not in _WITH_DATA:
            self.sent = max(self.sent, self.line.sent)
        self.flush()


class RequestMeter:
    """All open requests of a process; only its loop's thread touches them."""

    def __init__(self) -> None:
        self._open: set[Measured] = set()
        self._counts: dict[tuple[str, str, int | None], Counter] = {}
        self._times: dict[tuple[str, str], Histogram] = {}
        self._mine = WORKER_REQUESTS.labels("1")
        self._taken = 0

    def belongs_to(self, worker: int) -> None:
        """This process is that worker."""
        self._mine = WORKER_REQUESTS.labels(str(worker))

    def begun(self, request: web.Request, line: AccessLine) -> None:
        """A request has come; `line` tells when it ends."""
        method = request.method if request.method in METHODS else OTHER
        measured = Measured(self, line, method, route_of(request))
        line.on_end = measured.ended
        self._open.add(measured)

    def ended(self, measured: Measured, status: int | None, seconds: float) -> None:
        """One request is over."""
        self._open.discard(measured)
        self._taken += 1
        measured.flush_last(status)
        self._count(measured.method, measured.route, status).inc()
        self._time(measured.method, measured.route).observe(seconds)

    def flush(self) -> None:
        """Count what has moved in the open ones, and what each request need not pay for."""
        # A worker that was just scraped would tell of that scrape until it is sampled again, so asking often would find
        # one busy that is not.
        IN_FLIGHT.set(sum(measured.route != _FIGURES for measured in self._open))
        self._mine.inc(self._taken)
        self._taken = 0
        for measured in self._open:
            measured.flush()

    # Finding a child by its labels costs more than counting on it.

    def _count(self, method: str, route: str, status: int | None) -> Counter:
        key = method, route, status
        found = self._counts.get(key)
        if found is None:
            found = self._counts[key] = REQUESTS.labels(method, route, "none" if status is None else str(status))
        return found

    def _time(self, method: str, route: str) -> Histogram:
        key = method, route
        found = self._times.get(key)
        if found is None:
            found = self._times[key] = REQUEST_SECONDS.labels(*key)
        return found


REQUEST_METER: Final = RequestMeter()
"""This process's."""


def route_of(request: web.Request) -> str:
    """The request's route as a template, never its path: `/v2/images/{image_id}/file`."""
    resource = request.match_info.route.resource
    return OTHER if resource is None else _told(resource.canonical)


@cache
def _told(template: str) -> str:
    if "{tail}" in template:
        return OTHER
    return template.replace("/{version}", "/v2").replace("/{unknown}", "/{version}")
