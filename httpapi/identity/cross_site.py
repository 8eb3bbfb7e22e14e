"""Whether a request comes from a web page of another site: browsers add a password by themselves, to anybody's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from httpapi.wire.errors import HostRefused

if TYPE_CHECKING:
    from httpapi.identity.contract import Arrival

# These change nothing, and a page of another site may not read their answers.
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# `none`: the user's own doing, such as an address that was typed.
_OWN: Final = frozenset({"same-origin", "none"})


def check_cross_site(arrival: Arrival) -> None:
    """Raise HostRefused for a request that could change something and that another site's page has sent.

    A browser says so in Sec-Fetch-Site, or in Origin; other programs send neither.
    """
    if arrival.method in _READING:
        return
    site = arrival.headers.get("Sec-Fetch-Site")
    if site is not None and site.strip().lower() not in _OWN:
        raise HostRefused("This service takes no changes from web pages of other sites.")
    origin = arrival.headers.get("Origin")
    if origin is not None and _place(origin) not in _own_places(arrival):
        raise HostRefused(
            f"This service takes no changes from web pages of {origin[:80]!r}: "
            "if that is its own address behind a proxy, it must be the setting public_url."
        )


def _own_places(arrival: Arrival) -> set[str]:
    """Under which host and port the client may know us; never the empty text, which would match an opaque origin."""
    return {_place(arrival.base_url), arrival.headers.get("Host", "").lower()} - {""}


def _place(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
