"""URLs that others write, read so strictly that no two programs could read them differently.

A host is a name, four decimal numbers, or an IPv6 address in brackets. What some resolvers take for an address beside
these (`2130706433`, `0177.0.0.1`, `0x7f.1`, `127.1`) is refused whatever it means, and so is all that is not ASCII.
What is connected to is made of the parts that were read here, never of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from catalog.model.errors import AddressRefused

if TYPE_CHECKING:
    from catalog.stores.outgoing.addresses import Address

LONGEST: Final = 4096
USUAL_PORTS: Final = {"http": 80, "https": 443}

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>//)?(?P<rest>.*)", re.DOTALL)
_REST: Final = re.compile(r"(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*", re.ASCII)
# As the URL standard says when a host is an address: by its last part alone.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_PLAIN: Final = "%/:@!$&'()*+,;=-._~[]?|"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, read: `host` is a name in lower case or an address without brackets, which is `address` then.

    `path` begins with a slash, `query` may be empty; both are ASCII and go into the request as they are.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str
    address: Address | None

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who is asked."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == USUAL_PORTS.get(self.scheme) else f"{host}:{self.port}"

    def __str__(self) -> str:
        # For people: a query may hold what its writer keeps to himself.
        return f"{self.scheme}://{self.authority}{self.path}"


def read_url(text: str) -> Target:
    """Read an absolute URL; raises AddressRefused with the rule that it breaks."""
    if len(text) > LONGEST:
        raise AddressRefused(f"The URL is longer than {LONGEST} characters.")
    if _FORBIDDEN.search(text):
        raise AddressRefused("The URL holds blanks, control characters or a backslash: write them as %20 and so on.")
    url = _URL.fullmatch(text)
    if url is None:
        raise AddressRefused("The URL begins with no scheme: write it as https://HOST/PATH.")
    scheme = url["scheme"].lower()
    if scheme not in USUAL_PORTS:
        raise AddressRefused(f"The URL's scheme {scheme[:40]!r} is not fetched: only http and https are.")
    rest = _REST.fullmatch(url["rest"])
    if url["slashes"] is None or rest is None:
        raise AddressRefused(f"The URL names no host: write it as {scheme}://HOST/PATH.")
    host, port, address = _authority(rest["authority"], scheme)
    return Target(scheme, host, port, _quoted(rest["path"]) or "/", _quoted(rest["query"] or ""), address)


def _authority(text: str, scheme: str) -> tuple[str, int, Address | None]:
    if "@" in text:
        raise AddressRefused("The URL holds a user or a password before an @: credentials are neither sent nor kept.")
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        raise AddressRefused("The URL's host and port cannot be read: an IPv6 address stands in brackets.")
    port = int(parts["port"]) if parts["port"] else USUAL_PORTS[scheme]
    if not 0 < port < 65536:
        raise AddressRefused(f"The URL's port {port} is none: ports go from 1 to 65535.")
    host = parts["host"].lower()
    if host.startswith("["):
        address = _address_6(host[1:-1])
        return str(address), port, address
    return host, port, _address_4(host)


def _address_6(text: str) -> IPv6Address:
    if "%" in text:
        raise AddressRefused("The URL's host names an interface of this machine behind a %: that is not for URLs.")
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise AddressRefused("The URL's host in brackets is no IPv6 address.") from None


def _address_4(host: str) -> IPv4Address | None:
    """The address that a host without brackets is, None for a name."""
    if not host:
        raise AddressRefused("The URL names no host.")
    if host.endswith("."):
        raise AddressRefused("The URL's host ends in a dot: leave it out.")
    if not host.isascii():
        raise AddressRefused("The URL's host is not ASCII: write a name as it stands in DNS, such as xn--….")
    if _NAME.fullmatch(host) is None:
        raise AddressRefused("The URL's host is no name and no address: only letters, digits, -, _ and dots make one.")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]) is None:
        return None
    try:
        return IPv4Address(host)
    except AddressValueError:
        raise AddressRefused(
            f"The URL's host {host[:60]!r} is written as {_odd_form(labels)}: "
            "an address is written as four decimal numbers, such as 192.0.2.1."
        ) from None


def _odd_form(labels: list[str]) -> str:
    if any(label.startswith("0x") for label in labels):
        return "a hexadecimal address"
    if any(len(label) > 1 and label.startswith("0") and label.isdigit() for label in labels):
        return "an octal address"
    if len(labels) == 1:
        return "a decimal address of one number"
    if len(labels) < 4 and all(label.isdigit() for label in labels):
        return "a short address"
    return "something between a name and an address"


def _quoted(text: str) -> str:
    """A path or query in ASCII: what is not, as UTF-8 in %XX; half characters as ?."""
    return quote(text.encode("utf-8", "replace"), safe=_PLAIN)
