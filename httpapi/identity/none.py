"""Identity `none`: every request is the same caller, so only this machine's own programs may come in.

A web page can make a browser send requests to a loopback port: under another name that resolves to 127.0.0.1
(DNS rebinding), or across sites. So the Host must be a loopback name and an Origin, if any, the same host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from httpapi.wire.errors import HostRefused
from httpapi.wire.hosts import is_loopback

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from httpapi.identity.contract import Arrival


@dataclass(frozen=True, slots=True)
class NoIdentity:
    """One fixed caller for everybody who can reach the port; what was sent as a token is not looked at."""

    caller: Caller

    @property
    def describe(self) -> str:
        """Who everybody is."""
        return f"identity none: {self.caller.user}/{self.caller.project}"

    @property
    def reaches_beyond_loopback(self) -> bool:
        """Never: whoever reaches the port is that caller."""
        return False

    @property
    def takes_passwords(self) -> bool:
        """Never: nothing that is sent counts."""
        return False

    def admit(self, arrival: Arrival) -> None:
        """Raise HostRefused for a Host beyond loopback or an Origin of another site."""
        host = arrival.headers.get("Host")
        check_host(host)
        check_origin(arrival.headers.get("Origin"), host)

    async def identify(self, arrival: Arrival) -> Caller:  # noqa: ARG002  # the contract's: nothing to read
        """The fixed caller."""
        return self.caller


def check_host(host: str | None) -> None:
    """Raise HostRefused unless `host` (with or without a port) is a loopback name; HTTP/1.0 may send none."""
    if host is None or is_loopback(_name_of(host)):
        return
    raise HostRefused(
        f"Without identity this service answers only to loopback names, not to the Host {host[:80]!r}: "
        "call it as http://127.0.0.1 or http://localhost."
    )


def check_origin(origin: str | None, host: str | None) -> None:
    """Raise HostRefused for a page of another site (or an opaque one); programs other than browsers send no Origin."""
    if origin is None:
        return
    try:
        same = urlsplit(origin).netloc.lower() == (host or "").lower() != ""
    except ValueError:
        same = False
    if not same:
        raise HostRefused(f"Without identity this service takes no requests from web pages of {origin[:80]!r}.")


def _name_of(host: str) -> str:
    try:
        return "" if "@" in host else urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
