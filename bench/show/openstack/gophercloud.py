"""What Terraform and Packer do with images, done by the library that both are built on, with the real Keystone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.show.registry import Figure, Room, at_least, at_most, check, holds
from tests.clients.gophercloud import is_here, outcomes

if TYPE_CHECKING:
    from collections.abc import Generator

# Of its own tests on images those that need no way of import, and three sequences of ours.
TESTS: Final = {"Terraform and Packer": 3, "its own tests": 8}


@check("openstack", "gophercloud", "gophercloud, which Terraform and Packer are built on, works unchanged.")
def beneath_terraform(room: Room) -> Generator[Figure, None, None]:
    if not is_here():
        yield holds("Go and gophercloud are there: make .stamps/gophercloud", ok=False)
        return
    for suite, passed, wrong in outcomes(room.work):
        yield at_least(f"{suite}: tests that passed", len(passed), TESTS[suite], "", passed)
        yield at_most(f"{suite}: tests that failed", len(wrong), 0, "", wrong)
