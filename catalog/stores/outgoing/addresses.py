"""Which addresses are not for whoever names a URL: all that are not plainly on the public internet.

An IPv6 address that carries an IPv4 one is refused as what it is. Where the operator allows it, what it carries is
judged in its place: a network's NAT64 prefix can be allowed without allowing the way to loopback through it.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# IANA's registries of special-purpose addresses, the narrower network first where one lies in another.
_SPECIAL_4: Final = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/32", "the unspecified address"),
        ("0.0.0.0/8", "a reserved address"),
        ("127.0.0.0/8", "a loopback address"),
        ("10.0.0.0/8", "a private address"),
        ("172.16.0.0/12", "a private address"),
        ("192.168.0.0/16", "a private address"),
        ("169.254.0.0/16", "a link-local address"),
        ("100.64.0.0/10", "an address of a provider's own network"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "an address for documentation"),
        ("192.88.99.0/24", "a reserved address"),
        ("198.18.0.0/15", "an address for benchmarks"),
        ("198.51.100.0/24", "an address for documentation"),
        ("203.0.113.0/24", "an address for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
_SPECIAL_6: Final = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "the unspecified address"),
        ("::1/128", "a loopback address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a private address"),
        ("ff00::/8", "a multicast address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "an address for documentation"),
        ("3fff::/20", "an address for documentation"),
    )
)
_PUBLIC_6: Final = IPv6Network("2000::/3")


def _low(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)


def _of_6to4(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)


def _of_teredo(address: IPv6Address) -> IPv4Address:
    # The client's, every bit of it turned.
    return IPv4Address(int(address) & 0xFFFFFFFF ^ 0xFFFFFFFF)


_CARRIERS: Final[tuple[tuple[IPv6Network, str, Callable[[IPv6Address], IPv4Address]], ...]] = (
    (IPv6Network("::ffff:0:0/96"), "an IPv4-mapped address", _low),
    (IPv6Network("::ffff:0:0:0/96"), "an IPv4-translated address", _low),
    (IPv6Network("64:ff9b::/96"), "a NAT64 address", _low),
    (IPv6Network("64:ff9b:1::/48"), "a NAT64 address", _low),
    (IPv6Network("2002::/16"), "a 6to4 address", _of_6to4),
    (IPv6Network("2001::/32"), "a Teredo address", _of_teredo),
    (IPv6Network("::/96"), "an IPv4-compatible address", _low),
)
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def refusal(address: Address, allowed: Sequence[Network]) -> str | None:
    """What makes an address none to ask, such as "127.0.0.1 is a loopback address"; None: it may be asked.

    `allowed` are networks that may be asked all the same.
    """
    kind, carried = _kind(address)
    if kind is not None and not any(address in network for network in allowed):
        return f"{address} is {kind}"
    if carried is not None and (inner := refusal(carried, allowed)) is not None:
        return f"{address} is {kind} of {carried}, and {inner}"
    return None


def read_address(text: str) -> Address:
    """An address as a resolver writes it, perhaps with an interface behind %; raises ValueError."""
    return ip_address(text.partition("%")[0])


def _kind(address: Address) -> tuple[str | None, IPv4Address | None]:
    """The kind of a special address, None for a public one, and the IPv4 address that it carries, if any."""
    if isinstance(address, IPv4Address):
        kind = next((kind for network, kind in _SPECIAL_4 if address in network), None)
        # What Python's own list knows beyond ours.
        return kind or (None if address.is_global else "not a public address"), None
    # ::1 and :: are themselves before they are 0.0.0.1 and 0.0.0.0.
    if int(address) > 1:
        for network, kind, carried in _CARRIERS:
            if address in network:
                return kind, carried(address)
        if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
            return "an ISATAP address", _low(address)
    kind = next((kind for network, kind in _SPECIAL_6 if address in network), None)
    if kind is None and (address not in _PUBLIC_6 or not address.is_global):
        kind = "not a public address"
    return kind, None
