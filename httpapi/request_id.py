"""The id that each answer carries, so that a user's report finds its lines in the log.

Ours is always a fresh one. A caller may send an id of its own, which its other services know (OpenStack's global
request id): it is written beside ours in the log, and nothing else is made of it.
"""

from __future__ import annotations

import re
import uuid

from aiohttp import web

REQUEST_ID_HEADER = "x-openstack-request-id"
REQUEST_ID = web.RequestKey("request_id", str)

_GLOBAL = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def new_request_id() -> str:
    """A fresh id, `req-` and a random UUID."""
    return f"req-{uuid.uuid4()}"


def global_id_of(inbound: str | None) -> str | None:
    """The caller's own id where it has the shape of one; None for anything else."""
    return inbound.lower() if inbound is not None and _GLOBAL.fullmatch(inbound) else None
