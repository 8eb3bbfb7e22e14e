"""Discovery and health: what is asked before anything is known of the caller."""

from __future__ import annotations

from aiohttp import web

from httpapi.proxies import base_url
from httpapi.wire.versions import version_document

MINORS: web.AppKey[tuple[int, ...]] = web.AppKey("minors", tuple)
"""The minor versions that are told."""


async def choices(request: web.Request) -> web.Response:
    """`/` and every unknown version: 300, so that clients choose from the list."""
    return _document(request, status=300)


async def versions(request: web.Request) -> web.Response:
    """`/versions` and the version's own root: 200 with the same list, which keystoneless clients need."""
    return _document(request, status=200)


async def healthcheck(_request: web.Request) -> web.Response:
    """Whether the process answers at all."""
    return web.Response(text="OK")


def _document(request: web.Request, *, status: int) -> web.Response:
    minors = request.app[MINORS]
    return web.json_response(version_document(base_url(request), minors), status=status)
