"""OpenStack's own tests of images, those of imports, locations, stores and tasks among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.show.openstack.tempest import counted
from bench.show.registry import check

if TYPE_CHECKING:
    from collections.abc import Generator

    from bench.show.registry import Figure, Room

LEAST: Final = 90


@check(
    "locations",
    "tempest-imports",
    "tempest.api.image with imports, locations, stores and tasks: what is not listed passes.",
)
def tempest_imports(room: Room) -> Generator[Figure, None, None]:
    yield from counted(room, LEAST)
