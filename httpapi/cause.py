"""Which request the running code works for: for the log, in threads too, and without anything of the server."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """The request that the running code works for: our id, and the caller's own if it sent one that is one."""

    request_id: str
    global_id: str | None = None


CAUSE: ContextVar[Cause | None] = ContextVar("drystone_cause", default=None)
"""Each request is a task of its own, so what is set here holds for it alone, and in threads that take its context."""
