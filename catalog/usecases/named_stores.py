"""Stores that callers name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.errors import Invalid, StoreDown, StoreReadOnly
from catalog.model.location import OUR_STORE
from catalog.stores.set import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.store_ports import Store
    from catalog.usecases.services import Services


def check_preferred(services: Services, names: Sequence[str]) -> None:
    """Refuse a preference for stores that there are not: Invalid."""
    if names and not services.stores.several:
        raise Invalid("This service has no stores to choose from; leave 'prefer' out.")
    for name in names:
        if services.stores.info(name) is None:
            raise Invalid(f"There is no store {name[:80]!r} to prefer; it is one of {_all(services)}.")


def target_of(services: Services, name: str | None) -> Store | None:
    """The store that bytes are to go to, None for our blocks; the default one if nobody named one.

    Raises Invalid for an unknown one, StoreReadOnly, StoreDown.
    """
    chosen = services.stores.default if name is None else name
    if chosen == OUR_STORE:
        return None
    store = services.stores.get(chosen)
    if store is None:
        raise Invalid(f"There is no store {chosen[:80]!r}; it is one of {_all(services)}.")
    if store.info.read_only or store.info.kind == OPAQUE:
        raise StoreReadOnly(f"Store {chosen} takes no images; choose another one.")
    if services.stores.is_aside(chosen):
        # Before a byte is sent that could not be kept.
        raise StoreDown(f"Store {chosen} cannot be used now: choose another one, or try again in a while.")
    return store


def _all(services: Services) -> str:
    return ", ".join(info.name for info in services.stores.infos())
