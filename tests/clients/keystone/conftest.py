from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from httpapi.handlers.probes import ProbeHandlers
from httpapi.health import Health
from httpapi.identity.keystone import KeystoneIdentity
from httpapi.identity.keystone_api import KeystoneApi, ServiceUser
from httpapi.metrics.scrape import Scrape
from tests.kit.image_service import image_service
from tests.kit.real_keystone import Keystone
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Served = Callable[[float], AbstractContextManager[RunningServer]]


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with Keystone(tmp_path_factory.mktemp("keystone")) as running:
        yield running


@pytest.fixture(scope="session")
def served(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A server of ours in this process that asks this Keystone, and remembers tokens for so many seconds."""

    @contextlib.contextmanager
    def serve(remember: float) -> Iterator[RunningServer]:
        user = ServiceUser(keystone.service.name, keystone.service.password)
        api = KeystoneApi(keystone.url, user, timeout=30)
        identity = KeystoneIdentity(
            api, public_url=keystone.url, service_roles=frozenset({"service"}), remember=remember
        )
        with image_service(tmp_path_factory.mktemp("data") / "data") as service:
            health = Health(service.services, identity=identity)
            probes = ProbeHandlers(health, Scrape(service.services), "open")
            with RunningServer(service.services, identity=identity, probes=probes) as server:
                yield server

    return serve


@pytest.fixture(scope="module")
def server(served: Served) -> Iterator[RunningServer]:
    """One that remembers nothing."""
    with served(0.0) as running:
        yield running
