"""The way out, as the settings say it, and its end with the process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.outgoing.rules import Rules
from catalog.stores.outgoing.way import Waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from httpapi.settings import Settings


def outgoing_of(settings: Settings) -> Outgoing:
    """One process's way out; opens nothing."""
    rules = Rules(
        schemes=settings.outgoing_schemes,
        ports=settings.outgoing_ports,
        hosts=frozenset(settings.outgoing_hosts),
        networks=settings.outgoing_networks,
    )
    return Outgoing(rules, waits=Waits(silence=settings.outgoing_timeout))


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
