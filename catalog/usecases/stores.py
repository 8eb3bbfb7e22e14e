"""Looking at the stores that are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.location_policy import may_see_stores_in_detail
from catalog.model.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.store_ports import StoreInfo
    from catalog.usecases.services import Services


def list_stores(services: Services) -> Sequence[StoreInfo]:
    """All of them, the heaviest first. Raises NotFound where none were configured, as if nobody had asked for any."""
    if not services.stores.several:
        raise NotFound("This service does not tell stores apart: there is one, and it has no name.")
    return services.stores.infos()


def list_stores_in_detail(services: Services, caller: Caller) -> Sequence[StoreInfo]:
    """The same for whom may know where they are and what they weigh. Raises NotFound and Forbidden."""
    found = list_stores(services)
    if not may_see_stores_in_detail(caller):
        raise Forbidden("Where stores are is told to administrators and services.")
    return found


def that_take_images(services: Services) -> Sequence[str]:
    """The names of those that a new image's bytes can be put into; none where none were configured."""
    if not services.stores.several:
        return ()
    return [info.name for info in services.stores.infos() if not info.read_only]
