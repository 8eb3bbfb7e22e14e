"""Import and staging: what is answered while there is no way of import.

The reference looks at the way that is asked for before it looks at the image, so no answer tells of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from catalog.model.errors import Invalid, NotFound
from httpapi.body import read_json
from httpapi.wire.imports import method_name
from httpapi.wire.json_body import parse_json

if TYPE_CHECKING:
    from aiohttp import web

IMPORT_METHODS: Final[tuple[str, ...]] = ()
"""The ways of import that are served, by their names in this API."""

_INSTEAD: Final = "this service has no way of import: upload the bytes with PUT /v2/images/{id}/file"


@dataclass(frozen=True, slots=True)
class ImportsHandlers:
    """The verbs of import; `body_timeout` is how many seconds a body may stand still."""

    body_timeout: float

    async def stage(self, _request: web.Request) -> NoReturn:
        """404, before a byte of the body: what is staged is for the way `glance-direct`."""
        raise NotFound(f"Nothing can be staged, as {_INSTEAD}.")

    async def start(self, request: web.Request) -> NoReturn:
        """400: the way that is named is none of ours."""
        name = method_name(parse_json(await read_json(request, idle_seconds=self.body_timeout)))
        raise Invalid(f"Unknown way of import {name[:80]!r}; {_INSTEAD}.")
