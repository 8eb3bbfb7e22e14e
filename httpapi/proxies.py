"""Who a request comes from and under which address it was sent, when a proxy stands in between.

`X-Forwarded-For`, `-Proto` and `-Host` are what anybody may write, so they are believed only when the other end of the
connection is one of `trusted_proxies`. Each proxy appends to the first one the address that it was reached from: read
from the right, the first address that is no trusted proxy is the client; what stands to its left is its own invention.
Of `-Proto` and `-Host` the right-most value counts: the one that the trusted proxy itself wrote.

Links in answers begin with `public_url` where it is set, else with what the request names, else with the address that
it reached.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttp import web

if TYPE_CHECKING:
    from httpapi.setting_values import Network

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST: Final = re.compile(r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_WITH_PORT: Final = re.compile(r"\[([^\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", re.ASCII)
# More hops than any honest chain has; what a client wrote before them is not looked at.
_MOST_HOPS: Final = 32


@dataclass(frozen=True, slots=True)
class WayIn:
    """How requests come: the address that clients use, if it is set, and the proxies that are believed."""

    public_url: str | None = None
    trusted: tuple[Network, ...] = ()

    def trusts(self, address: Address) -> bool:
        """Whether this is one of our proxies."""
        return any(address.version == network.version and address in network for network in self.trusted)


WAY_IN = web.AppKey("way_in", WayIn)


def client_of(request: web.Request) -> str:
    """The client's address: the other end of the connection, or whom our proxies say they speak for; `-` if unknown."""
    client = _address(request.remote or "")
    way_in = request.app[WAY_IN]
    if client is None or not way_in.trusts(client):
        return "-" if client is None else str(client)
    for hop in reversed(_values(request, "X-Forwarded-For")[-_MOST_HOPS:]):
        before = _address(hop)
        if before is None:
            break
        client = before
        if not way_in.trusts(client):
            break
    return str(client)


def scheme_of(request: web.Request) -> str:
    """`http` or `https`, as the client used it."""
    said = _said_by_proxy(request, "X-Forwarded-Proto").lower()
    return said if said in {"http", "https"} else request.scheme


def host_of(request: web.Request) -> str:
    """Host, with its port where it has one, as the client used it; else the address that was reached."""
    said = _said_by_proxy(request, "X-Forwarded-Host")
    return said if _HOST.fullmatch(said) else request.headers.get("Host") or _reached(request)


def base_url(request: web.Request) -> str:
    """What absolute links begin with: scheme, host and perhaps a path, no slash at the end."""
    return request.app[WAY_IN].public_url or f"{scheme_of(request)}://{host_of(request)}"


def _said_by_proxy(request: web.Request, header: str) -> str:
    peer = _address(request.remote or "")
    if peer is None or not request.app[WAY_IN].trusts(peer):
        return ""
    return (_values(request, header) or [""])[-1]


def _values(request: web.Request, header: str) -> list[str]:
    lines = request.headers.getall(header, [])
    return [value for line in lines for each in line.split(",") if (value := each.strip())]


@functools.lru_cache(maxsize=256)
def _address(text: str) -> Address | None:
    """An address, with or without a port; an IPv4 one that came over an IPv6 socket is told as IPv4."""
    if (match := _WITH_PORT.fullmatch(text)) is not None:
        text = match[1] or match[2]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def _reached(request: web.Request) -> str:
    """Our end of the connection: HTTP/1.0 may name no host, and what this machine calls itself may not be reachable."""
    host, port, *_ = request.get_extra_info("sockname")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
