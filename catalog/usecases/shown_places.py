"""What callers are told of where an image lies: its stores, and, by setting and rule, its locations.

Of our own blocks nobody but admins learns what their manifest is called; others are shown a URL with the image's id.
Lost copies are not told. The order is that in which the image is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog import location_policy
from catalog.model.location import ACTIVE, OUR_STORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class ShownLocation:
    """A location as a caller is told it; `location` is what it really is."""

    url: str
    metadata: Mapping[str, str]
    location: Location


@dataclass(frozen=True, slots=True)
class ShownPlaces:
    """What a caller is told of an image's places; None: nothing of that kind."""

    stores: Sequence[str] | None = None
    locations: Sequence[ShownLocation] | None = None
    direct_url: str | None = None


def tells_places(services: Services) -> bool:
    """Whether anybody is told anything of places: if not, nobody needs to ask the catalog for them."""
    return services.stores.several or services.show_locations or services.show_direct_url


def shown_places(services: Services, caller: Caller, image: Image) -> ShownPlaces:
    """What the caller, who sees the image, is told."""
    if not tells_places(services) or not image.has_bytes:
        return ShownPlaces(locations=() if _tells_locations(services, caller, image) else None)
    active = readable(services, image)
    told = _tells_locations(services, caller, image)
    direct = services.show_direct_url and location_policy.may_see_locations(caller, image)
    return ShownPlaces(
        stores=[*dict.fromkeys(each.store for each in active)] if services.stores.several else None,
        locations=[shown(services, caller, image, each) for each in active] if told else None,
        # Our blocks are no place that others could go to.
        direct_url=next((each.url for each in active if each.manifest is None), None) if direct else None,
    )


def readable(services: Services, image: Image) -> Sequence[Location]:
    """The image's locations that are not lost, in their order."""
    return services.stores.ordered([each for each in image.locations if each.status == ACTIVE])


def shown(services: Services, caller: Caller, image: Image, location: Location) -> ShownLocation:
    """One location as the caller is told it."""
    url = location.url
    if location.manifest is not None and not caller.is_admin:
        url = f"{OUR_STORE}://{image.id}"
    named = {"store": location.store} if services.stores.several else {}
    return ShownLocation(url, {**location.metadata, **named}, location)


def _tells_locations(services: Services, caller: Caller, image: Image) -> bool:
    return services.show_locations and location_policy.may_see_locations(caller, image)
