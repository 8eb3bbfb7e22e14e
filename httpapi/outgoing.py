"""The way out, as the settings say it, and its end with the process."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from catalog.stores.other_services import KeptTokens, OtherServices
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.outgoing.rules import Rules
from catalog.stores.outgoing.way import Waits
from httpapi.keystone_settings import versioned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from httpapi.settings import Settings


def outgoing_of(settings: Settings, tls: ssl.SSLContext | None = None) -> Outgoing:
    """One process's way out; opens nothing. `tls` says whose certificates count, where it is not the system's."""
    rules = Rules(
        schemes=settings.outgoing_schemes,
        ports=settings.outgoing_ports,
        hosts=frozenset(settings.outgoing_hosts),
        networks=settings.outgoing_networks,
    )
    return Outgoing(rules, waits=Waits(silence=settings.outgoing_timeout), tls=tls)


def other_services_of(settings: Settings) -> OtherServices | None:
    """The image services of the same cloud, where there is a Keystone that knows them."""
    if settings.identity != "keystone" or settings.keystone_auth_url is None:
        return None

    def way() -> Outgoing:
        tls = ssl.create_default_context()
        if settings.keystone_ca_file is not None:
            tls.load_verify_locations(settings.keystone_ca_file)
        return outgoing_of(settings, tls)

    return OtherServices(versioned(settings.keystone_auth_url), way, KeptTokens(settings.data / "tokens"))


@asynccontextmanager
async def leaving(outgoing: Outgoing) -> AsyncIterator[None]:
    """Let its connections go at the end."""
    try:
        yield
    finally:
        await outgoing.close()


def describe_outgoing(settings: Settings) -> str:
    """Whom the service asks, in a few words."""
    if not settings.outgoing_schemes or not settings.outgoing_ports:
        return "nobody: no URL of a user's is fetched"
    also = ", ".join([*settings.outgoing_hosts, *map(str, settings.outgoing_networks)])
    told = f"{' and '.join(sorted(settings.outgoing_schemes))}, ports {_numbers(settings.outgoing_ports)}"
    return f"{told}, public addresses{f', and also {also}' if also else ' alone'}"


def odd_outgoing(settings: Settings) -> Iterator[str]:
    """What somebody should know of these settings, a sentence each."""
    for network in settings.outgoing_networks:
        if network.prefixlen == 0:
            yield f"outgoing_networks holds {network}: users can have this service ask every machine that it reaches."


def _numbers(ports: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ports)))
