"""Signed URLs and cookies as they travel: the path, the cookie, and what asks for them and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.wire.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNED: Final = "/signed"
"""Below it are signed URLs, `/signed/TICKET/NAME`."""

COOKIE: Final = "drystone"
"""The cookie that has a ticket for `/v2/images/{id}/file`."""

EXPIRES: Final = "expires"


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """What is told of new tickets: a URL for whoever has it, and a cookie with the URL that takes it."""

    url: str
    cookie: str
    cookie_url: str
    expires_at: str

    def to_json(self) -> dict[str, str]:
        """As it is answered."""
        return {
            "url": self.url,
            "expires_at": self.expires_at,
            "cookie": self.cookie,
            "cookie_url": self.cookie_url,
        }


def signed_path(ticket: str, name: str) -> str:
    """The path of a signed URL; nothing in it wants an escape."""
    return f"{SIGNED}/{ticket}/{name}"


def wanted_seconds(document: Mapping[str, object]) -> object:
    """What a request says of `expires`, None if nothing; raises BadRequest for anything else in it."""
    if not document.keys() <= {EXPIRES}:
        raise BadRequest("The JSON body is an object of expires, a number of seconds, and nothing else.")
    return document.get(EXPIRES)
