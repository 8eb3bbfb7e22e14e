"""What Nova and Cinder do with images, done by their own code, with the real Keystone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.show.registry import Figure, Room, at_most, check, holds
from tests.clients.nova_and_cinder import CHANGED, PYTHON, outcomes

if TYPE_CHECKING:
    from collections.abc import Generator


@check("openstack", "nova-cinder", "nova.image.glance.API and cinder.image.glance work unchanged, with Keystone.")
def nova_and_cinder(room: Room) -> Generator[Figure, None, None]:
    if not PYTHON.exists():
        yield holds("Nova and Cinder are there: make .stamps/nova", ok=False)
        return
    for program, wrong, changed in outcomes(room.work):
        yield holds(f"{program}: show, create, upload, download, update, delete, refusals", not wrong, (wrong,))
        if changed is not None:
            yield at_most("a snapshot whose base_image_ref names its image: new bytes", changed, CHANGED, "bytes")
