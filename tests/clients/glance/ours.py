"""This service in the script's terms: who calls is what Keystone's middleware would have said in headers."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.formats.rules import Formats
from catalog.model.caller import Caller
from httpapi.wire.errors import Unauthenticated
from tests.kit.image_service import image_service
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from httpapi.identity.contract import Arrival


class ToldIdentity:
    """Believes the headers."""

    describe = "whoever the headers name"
    reaches_beyond_loopback = False
    takes_passwords = False

    def admit(self, arrival: Arrival) -> None:
        """Everybody."""

    async def identify(self, arrival: Arrival) -> Caller:
        """Whom the headers name."""
        headers = arrival.headers
        if headers.get("X-Identity-Status") != "Confirmed":
            raise Unauthenticated("Nobody is named.")
        service = _roles(headers.get("X-Service-Roles", ""))
        return Caller(headers["X-User-Id"], headers["X-Project-Id"], _roles(headers["X-Roles"]), service_roles=service)


def _roles(text: str) -> frozenset[str]:
    return frozenset(each for each in text.lower().split(",") if each)


@contextlib.contextmanager
def drystone(room: Path) -> Iterator[int]:
    """The port of a service of ours that has no images yet."""
    with image_service(room) as service:
        services = replace(service.services, formats=Formats.ENFORCE, import_methods=())
        with RunningServer(services, identity=ToldIdentity()) as server:
            yield server.port
