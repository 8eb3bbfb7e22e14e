"""Tickets: who may have one made for an image, and reading an image with one instead of a name and a password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from catalog import location_policy, tickets
from catalog.model.errors import Conflict, Forbidden, Invalid
from catalog.model.image import Status, canonical_id
from catalog.usecases.access import load_visible
from catalog.usecases.image_data import Download
from catalog.usecases.reading import open_image

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.tickets import Ticket, UrlKeys
    from catalog.usecases.services import Services

USUAL: Final = 43_200
"""Seconds that a ticket is good for where nobody says otherwise, if so long is permitted."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Two tickets for one image, as text, for a URL that ends in `name` and for a cookie, and when they expire."""

    image_id: str
    name: str
    url_ticket: str
    cookie_ticket: str
    expires_at: datetime


async def sign(services: Services, caller: Caller, image_id: str, seconds: object = None) -> Signed:
    """Make tickets for an image that the caller may download; `seconds` is how long they are good.

    Raises Invalid, NotFound, Forbidden, Conflict (deactivated, or without bytes), UrlKeysUnavailable.
    """
    keys = _keys(services)
    good_for = _seconds(services, seconds)
    image = await services.database.read(lambda uow: _signable(uow, caller, image_id))
    key = await keys.newest()
    expires = int(services.clock().timestamp()) + good_for
    name = tickets.file_name(image)
    return Signed(
        image.id,
        name,
        tickets.signed(key, image.id, expires, name),
        tickets.signed(key, image.id, expires),
        datetime.fromtimestamp(expires, UTC),
    )


async def download(
    services: Services, text: str, *, name: str = "", image_id: str | None = None
) -> tuple[Ticket, Download]:
    """Open the bytes of the image that a ticket is for: of a URL that ends in `name`, or a cookie for `image_id`.

    Raises TicketRefused, for an image that is gone or deactivated too, and what `reading.open_image` does.
    """
    ticket = _checked(services, text, name)
    if image_id is not None and canonical_id(image_id) != ticket.image_id:
        raise tickets.refusal()

    def load(uow: UnitOfWork) -> Image:
        image = uow.images.get(ticket.image_id)
        # Whoever bears it is no admin, so a deactivated image is not theirs.
        if image is None or not image.has_bytes or image.status is Status.DEACTIVATED:
            raise tickets.refusal()
        return image

    image, reader = await open_image(services, load)
    return ticket, Download(image=image, size=reader.size, reader=reader)


def _checked(services: Services, text: str, name: str) -> Ticket:
    if services.url_keys is None:
        raise tickets.refusal()
    return tickets.checked(services.url_keys, text, services.clock().timestamp(), name)


def _keys(services: Services) -> UrlKeys:
    if services.url_keys is None:
        raise Forbidden("This service signs no URLs: its setting signed_urls is off.")
    return services.url_keys


def _signable(uow: UnitOfWork, caller: Caller, image_id: str) -> Image:
    image = load_visible(uow, caller, image_id)
    if not location_policy.may_sign(caller, image):
        raise Forbidden(f"You are not permitted to sign URLs of image {image.id}; who may download it is, by default.")
    if not image.has_bytes or image.status is Status.DEACTIVATED:
        raise Conflict(f"Image {image.id} is {image.status.value}: URLs are signed of images that can be downloaded.")
    return image


def _seconds(services: Services, asked: object) -> int:
    longest = int(services.ticket_longest)
    if asked is None:
        return min(USUAL, longest)
    if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= longest:
        raise Invalid(f"expires is a whole number of seconds, from 1 to {longest}, the most that is signed here.")
    return asked
