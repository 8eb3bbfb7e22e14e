"""The id that each answer carries, so that a user's report finds its line in the log."""

from __future__ import annotations

import re
import uuid

from aiohttp import web

REQUEST_ID_HEADER = "x-openstack-request-id"
REQUEST_ID = web.RequestKey("request_id", str)

# What a caller may choose goes into headers and logs as it is: printable, and short.
_ACCEPTED = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


def new_request_id() -> str:
    """A fresh id, `req-` and a random UUID."""
    return f"req-{uuid.uuid4()}"


def request_id_of(inbound: str | None) -> str:
    """The caller's own id where it is at most 64 plain characters (`req-` is put before it), else a fresh one."""
    if inbound is None or _ACCEPTED.fullmatch(inbound) is None:
        return new_request_id()
    return inbound if inbound.startswith("req-") else f"req-{inbound}"
