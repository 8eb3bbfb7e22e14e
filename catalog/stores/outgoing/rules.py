"""Whom the service asks on behalf of others: schemes, ports, hosts and networks, as the operator allows them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from catalog.model.errors import AddressRefused
from catalog.stores.outgoing.addresses import read_address, refusal
from catalog.stores.outgoing.urls import read_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.stores.outgoing.addresses import Network
    from catalog.stores.outgoing.urls import Target


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be asked; each refusal is an AddressRefused that names its rule.

    `hosts` are names or addresses that may be asked wherever they are (one that begins with a dot: all names below it);
    `networks` those that may be asked though they are not public. `own` are origins that the operator's own catalog of
    services names: these may be anywhere, on any port.
    """

    schemes: frozenset[str] = frozenset({"http", "https"})
    ports: frozenset[int] = frozenset({80, 443})
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    own: frozenset[tuple[str, str, int]] = frozenset()

    def target(self, url: str) -> Target:
        """Read a URL and judge all of it that can be known without asking anybody."""
        target = read_url(url)
        if target.origin in self.own:
            return target
        if target.scheme not in self.schemes:
            told = " and ".join(sorted(self.schemes)) or "nothing"
            raise AddressRefused(f"The URL's scheme {target.scheme} is not fetched: outgoing_schemes allows {told}.")
        if target.port not in self.ports:
            told = ", ".join(map(str, sorted(self.ports))) or "none"
            raise AddressRefused(f"The URL's port {target.port} is not asked: outgoing_ports allows {told}.")
        if target.address is not None:
            self.judge(target.host, target.port, [str(target.address)])
        elif target.host == "localhost" or target.host.endswith(".localhost"):
            # Never a matter of DNS: these are this machine.
            self.judge(target.host, target.port, ["127.0.0.1"])
        return target

    def judge(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Refuse a host if any of its addresses is refused: which one is connected to is then all the same."""
        if self._names(host) or any(origin[1:] == (host, port) for origin in self.own):
            return
        for text in addresses:
            why = refusal(read_address(text), self.networks)
            if why is not None:
                of = "" if text == host else f" The name {host[:80]} leads there."
                raise AddressRefused(f"The URL's host is not asked: {why}, and no outgoing_networks allows it.{of}")

    def beside(self, url: str) -> Rules:
        """The same rules, and also whoever is asked at `url`, which the operator named."""
        return replace(self, own=self.own | {read_url(url).origin})

    def _names(self, host: str) -> bool:
        return host in self.hosts or any(each.startswith(".") and host.endswith(each) for each in self.hosts)
