"""What a PATCH does to an image's locations: add, remove and replace, in the order in which they are shown.

What lies at a place that is named is looked at before the transaction, which then decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from catalog import location_policy, policy
from catalog.jobs.enqueueing import enqueue
from catalog.jobs.reading_lanes import lane_of_reading
from catalog.model.change import Act
from catalog.model.errors import Conflict, Forbidden, Invalid, LimitExceeded, ReservedAttribute
from catalog.model.image import Status
from catalog.model.quota import Usage
from catalog.model.task import HASH, image_task
from catalog.usecases import quotas
from catalog.usecases.access import load_modifiable
from catalog.usecases.locations import is_read_from, take_away
from catalog.usecases.registering import FoundPlace, NamedPlace, check_may_name, find_places, new_hashes, read_place
from catalog.usecases.shown_places import readable, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.model.caller import Caller
    from catalog.model.change import Change
    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.model.task import Requester
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services
    from catalog.usecases.shown_places import ShownLocation

LOCATIONS: Final = "locations"
MOST: Final = 10
"""Locations of one image."""

_DONE: Final = {Act.ADD: "add", Act.PUT: "add", Act.REMOVE: "remove", Act.REPLACE: "replace"}


@dataclass(frozen=True, slots=True)
class LocationChange:
    """One act on an image's locations: at a position, or on all of them."""

    act: Act
    at: str | None = None
    places: Sequence[NamedPlace] = ()


@dataclass(slots=True)
class Changing:
    """One request's changes of locations, under way: what was found at the URLs, and what the image has lost."""

    services: Services
    caller: Caller
    by: Requester
    found: Mapping[str, FoundPlace] = field(default_factory=dict)
    gone: list[Location] = field(default_factory=list)


def read_change(services: Services, change: Change) -> LocationChange:
    """A change whose name is `locations`. Raises ReservedAttribute where none is told, Forbidden for none, Invalid."""
    if not services.show_locations:
        raise ReservedAttribute("It's not allowed to change locations where they are invisible: show_locations is off.")
    if change.act is Act.REMOVE:
        return LocationChange(change.act, change.at)
    if change.act is not Act.REPLACE:
        return LocationChange(change.act, change.at, [read_place(change.value)])
    if not change.value:
        raise Forbidden("Cannot set locations to empty list.")
    if not isinstance(change.value, list):
        raise Invalid("Locations are a JSON array.")
    if len(change.value) > MOST:
        raise _too_many()
    return LocationChange(change.act, None, [read_place(each) for each in change.value])


async def look_at_places(
    services: Services, caller: Caller, image_id: str, changes: Sequence[LocationChange]
) -> Mapping[str, FoundPlace]:
    """What lies at the URLs that these changes name, once the caller may name them. Raises Invalid, Forbidden."""

    def look(uow: UnitOfWork) -> tuple[set[str], int | None]:
        image = load_modifiable(uow, caller, image_id)
        for each in changes:
            _check_may(caller, image, each)
        return {each.url for each in _all_shown(services, caller, image)}, image.size

    known, size = await services.database.read(look)
    named = {place.url: place for each in changes for place in each.places}
    if len(named) > MOST:
        raise _too_many()
    new = {url: place for url, place in named.items() if url not in known}
    for place in new.values():
        check_may_name(services, caller, place)
    return await find_places(services, new, size)


def apply_to_locations(uow: UnitOfWork, changing: Changing, image: Image, change: LocationChange) -> None:
    """Do it to the image, which whoever asks saves. Raises Invalid, Forbidden, Conflict, LimitExceeded."""
    _check_may(changing.caller, image, change)
    states = {Status.ACTIVE} if change.act is Act.REMOVE else {Status.ACTIVE, Status.QUEUED}
    if image.status not in states:
        raise Conflict(f"It's not allowed to {_DONE[change.act]} locations if image status is {image.status.value}.")
    if change.act is Act.REMOVE:
        _remove(uow, changing, image, change)
        return
    hashes: dict[str, str] = {}
    for place in change.places:
        for name, value in place.hashes.items():
            if hashes.setdefault(name, value) != value:
                raise Conflict(f"Conflicting values for {name}.")
    new = new_hashes(changing.services, image, hashes)
    if change.act is Act.REPLACE and image.locations:
        _rearrange(changing, image, change.places)
        return
    for number, place in enumerate(change.places):
        _add(uow, changing, image, place, change.at if change.act is not Act.REPLACE else str(number))
    if image.status is Status.QUEUED:
        _activate(uow, changing, image, new)


def _add(uow: UnitOfWork, changing: Changing, image: Image, place: NamedPlace, at: str | None) -> None:
    in_order = [*readable(changing.services, image)]
    position = _position(at, len(in_order))
    found = changing.found.get(place.url)
    if found is None or any(each.url == place.url for each in image.locations):
        raise Invalid(f"The location {place.url[:80]!r} is one of the image's already.")
    if len(image.locations) >= MOST:
        raise _too_many()
    if image.has_bytes and found.size not in {None, image.size}:
        raise Invalid(f"Invalid location: {found.size} bytes are there, and the image has {image.size}.")
    if image.status is Status.QUEUED and image.size is None and found.size is not None:
        quotas.check(changing.services, uow, image.owner, Usage(bytes=found.size))
        image.size = found.size
    in_order.insert(position, found.location)
    image.locations = (*in_order, *_lost(image))


def _remove(uow: UnitOfWork, changing: Changing, image: Image, change: LocationChange) -> None:
    in_order = readable(changing.services, image)
    if len(image.locations) == 1:
        raise Forbidden("Cannot remove last location in the image.")
    position = _position(change.at, len(in_order), taken=True)
    take_away(changing.services, uow, image, [in_order[position]], at=changing.services.clock())
    changing.gone.append(in_order[position])


def _rearrange(changing: Changing, image: Image, places: Sequence[NamedPlace]) -> None:
    """The same locations, with other metadata, in another order."""
    known = {each.url: each.location for each in _all_shown(changing.services, changing.caller, image)}
    if {place.url for place in places} != known.keys() or len(places) != len(known):
        raise Invalid("Locations can be replaced by the same ones alone, or where there are none: add and remove some.")
    metadata = ({name: value for name, value in place.metadata.items() if name != "store"} for place in places)
    changed = [replace(known[place.url], metadata=each) for place, each in zip(places, metadata, strict=True)]
    image.locations = (*changed, *_lost(image))


def _activate(uow: UnitOfWork, changing: Changing, image: Image, hashes: Mapping[str, str]) -> None:
    """The image has the bytes that lie there: queued → active. Raises Invalid while its formats are unset."""
    services, at = changing.services, changing.services.clock()
    image.be_registered(hashes, at=at)
    if services.location_hashes and image.os_hash_value is None and is_read_from(services, image.locations):
        task = image_task(HASH, image_id=image.id, owner=image.owner, by=changing.by, at=at)
        enqueue(uow, task, lane=lane_of_reading(services, image))


def _check_may(caller: Caller, image: Image, change: LocationChange) -> None:
    removes = change.act is Act.REMOVE
    may = location_policy.may_delete_location if removes else location_policy.may_set_locations
    if not (policy.may_modify(caller, image) and may(caller, image)):
        raise Forbidden(f"You are not permitted to {_DONE[change.act]} locations of image {image.id}.")


def _all_shown(services: Services, caller: Caller, image: Image) -> Sequence[ShownLocation]:
    return [shown(services, caller, image, each) for each in readable(services, image)]


def _lost(image: Image) -> Sequence[Location]:
    return [each for each in image.locations if not each.is_active]


def _position(at: str | None, count: int, *, taken: bool = False) -> int:
    """The number of a location in a list of `count`: `-` is the end; `taken`: there must be one."""
    if at == "-":
        position = count - 1 if taken else count
    elif at is not None and at.isascii() and at.isdigit() and len(at) <= 9:
        position = int(at)
    else:
        position = -1
    if position < 0 or (taken and position >= count):
        raise Invalid(f"Invalid position for {'removing' if taken else 'adding'} a location.")
    return position


def _too_many() -> LimitExceeded:
    return LimitExceeded(f"An image has {MOST} locations at most.")
