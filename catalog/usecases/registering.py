"""Places that callers name for an image's bytes: what such a URL may be, and what lies there now.

Only URLs of stores that this service reads and never writes, or keeps and shows, can be named. What our own stores keep
is named by us alone: a URL in one of them is one image's, and whoever could name it would read another's.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from catalog.limits import can_be_stored
from catalog.model.errors import AddressRefused, Conflict, CopyLost, Forbidden, Invalid, StoreDown
from catalog.model.location import Location
from catalog.stores.set import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.store_ports import Store
    from catalog.usecases.services import Services

LONGEST_URL: Final = 255
MOST_METADATA: Final = 64
_STORE: Final = "store"
_HASHES: Final = ("checksum", "os_hash_algo", "os_hash_value")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NamedPlace:
    """A location as a caller says it; `hashes` is what the bytes there are said to be."""

    url: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """What is there: the location, and its size in bytes, None where nobody here can look."""

    location: Location
    size: int | None


def read_place(value: object) -> NamedPlace:
    """One location of a request. Raises Invalid."""
    if not isinstance(value, dict) or not value.keys() <= {"url", "metadata", "validation_data"}:
        raise Invalid("A location is a JSON object of url and metadata, and validation_data at most.")
    url, metadata, hashes = value.get("url"), value.get("metadata"), value.get("validation_data", {})
    if not isinstance(url, str) or not 0 < len(url) <= LONGEST_URL:
        raise Invalid(f"A location's url is a text of 1 to {LONGEST_URL} characters.")
    return NamedPlace(url, _texts("metadata", metadata), _texts("validation_data", hashes, _HASHES))


def check_may_name(services: Services, caller: Caller, named: NamedPlace) -> None:
    """Refuse an opaque URL of a user's: Forbidden. An admin may name one, and another service.

    It says which volume others are to open, with rights of their own: whoever could name any would read anybody's.
    """
    if _store_of(services, named).info.kind == OPAQUE and not is_service(caller):
        raise Forbidden("What only other services read, they name themselves: you may name URLs that this one reads.")


def is_service(caller: Caller) -> bool:
    """Whether the caller is another service, or an admin."""
    return caller.is_admin or "service" in caller.roles | caller.service_roles


async def find_place(services: Services, named: NamedPlace, size: int | None) -> FoundPlace:
    """Look what is there: `size` bytes, or any number but none. Raises Invalid, AddressRefused among it."""
    store = _store_of(services, named)
    metadata = {name: value for name, value in named.metadata.items() if name != _STORE}
    location = Location(url=named.url, store=store.info.name, metadata=metadata)
    if store.info.kind == OPAQUE:
        if "@" in urlsplit(named.url).netloc:
            raise Invalid("Invalid location: its URL holds credentials; the service would show them.")
        return FoundPlace(location, None)
    try:
        # By the rules of this store, which may have a host of its own where others may not ask.
        reader = await store.open(named.url, size)
    except (CopyLost, StoreDown) as error:
        if isinstance(error.__cause__, AddressRefused):
            # It says which rule.
            raise error.__cause__ from None
        raise Invalid(f"Invalid location: {error}") from error
    there = reader.size
    reader.close()
    if not there:
        raise Invalid("Invalid location: nothing is there, not a byte.")
    services.limits.check_size(there)
    return FoundPlace(location, there)


async def find_places(
    services: Services, named: Mapping[str, NamedPlace], size: int | None
) -> Mapping[str, FoundPlace]:
    """What is at each of several URLs, looked at side by side: a slow server is waited for once. Raises as one does."""
    looking = {url: asyncio.create_task(find_place(services, place, size)) for url, place in named.items()}
    try:
        await asyncio.gather(*looking.values())
    finally:
        for look in looking.values():
            look.cancel()
        await asyncio.gather(*looking.values(), return_exceptions=True)
    return {url: look.result() for url, look in looking.items()}


def refuse_address(services: Services, url: str) -> None:
    """Of a URL that no store has: one of the web that breaks a rule by its text is refused by that. AddressRefused."""
    if _is_of_the_web(url):
        services.outgoing.refuse(url)


def new_hashes(services: Services, image: Image, hashes: Mapping[str, str]) -> Mapping[str, str]:
    """Those of these hashes that the image has not yet. Raises Conflict: another value, or one that is none."""
    new = {}
    for name, value in hashes.items():
        known = getattr(image, name)
        if known and known != value:
            raise Conflict(f"{name} is already set with a different value.")
        if known != value:
            new[name] = value
    if new and image.has_bytes:
        raise Conflict(f"New values for {', '.join(sorted(new))} are taken only while an image is queued.")
    if new:
        _check_hashes(services, new)
    return new


def _check_hashes(services: Services, new: Mapping[str, str]) -> None:
    if "checksum" in new:
        _check_hex("checksum", new["checksum"], "md5")
    algorithm = new.get("os_hash_algo")
    if algorithm != services.hashing:
        raise Conflict(f"os_hash_algo must be {services.hashing}, not {str(algorithm)[:40]}.")
    _check_hex("os_hash_value", new.get("os_hash_value", ""), services.hashing)


def _check_hex(name: str, value: str, algorithm: str) -> None:
    size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    if not _HEX.fullmatch(value) or len(value) != 2 * size:
        raise Conflict(f"{name} is no {algorithm} in hex, which has {2 * size} digits.")


def _store_of(services: Services, named: NamedPlace) -> Store:
    if not can_be_stored(named.url) or not named.url.isprintable():
        raise Invalid("Invalid location: its URL holds a character that no URL has.")
    chosen = services.stores.get(named.metadata.get(_STORE, ""))
    store = chosen if chosen is not None and chosen.owns(named.url) else services.stores.of_url(named.url)
    if store is None:
        refuse_address(services, named.url)
        raise Invalid(f"Invalid location: no store of this service has URLs like {named.url[:80]!r}.")
    if not (store.info.read_only or store.info.kind == OPAQUE):
        raise Invalid(
            f"Invalid location: what store {store.info.name} has is named by this service alone. To have an image"
            " there, import it with the method copy-image."
        )
    return store


def _is_of_the_web(url: str) -> bool:
    return url.lower().startswith(("http:", "https:"))


def _texts(what: str, value: object, names: tuple[str, ...] = ()) -> Mapping[str, str]:
    given: Any = value
    if not isinstance(given, dict) or len(given) > MOST_METADATA:
        raise Invalid(f"A location's {what} is a JSON object, of {MOST_METADATA} members at most.")
    for name, text in given.items():
        known = not names or name in names
        if not (known and isinstance(text, str) and len(text) <= LONGEST_URL and can_be_stored(name + text)):
            raise Invalid(f"In a location's {what}, {name[:40]!r} is not taken; it has short texts by name.")
    return dict(given)
