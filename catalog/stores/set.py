"""The configured stores as one: which there are, in which order their copies are read, and how they are just now."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from blockstore import clock
from catalog.model.errors import CatalogError, StoreDown
from catalog.model.location import ACTIVE, OUR_STORE
from catalog.store_ports import StoreInfo
from catalog.stores.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from catalog.model.location import Location
    from catalog.store_ports import Store

OPAQUE: Final = "opaque"
"""The kind of store whose copies are kept and shown, and never read by us."""
LOOK_SECONDS: Final = 0.25
"""How often somebody looks whether a pause is about to end."""
CHECK_SECONDS: Final = 30.0
"""How often stores are asked that nobody has complained of."""
CHECK_LIMIT: Final = 10.0
"""Seconds after which a store that does not even say how it is counts as down."""

OUR_BLOCKS: Final = StoreInfo(OUR_STORE, OUR_STORE, description="Deduplicated blocks.", default=True)

_log = logging.getLogger("drystone.stores")


class StoreSet:
    """`catalog.store_ports.Stores` over any stores, with our own blocks among them; one of all is the default.

    `several` says whether somebody configured them. `now` gives seconds that never go back.
    """

    def __init__(
        self,
        stores: Iterable[Store] = (),
        *,
        blocks: StoreInfo = OUR_BLOCKS,
        several: bool = True,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._stores = {store.info.name: store for store in stores}
        self._infos = {info.name: info for info in (blocks, *(store.info for store in self._stores.values()))}
        self._several = several
        self._health = Health(now)
        self._down: set[str] = set()

    @property
    def several(self) -> bool:
        """Whether stores were configured."""
        return self._several

    @property
    def default(self) -> str:
        """The one that says so, else our blocks."""
        return next((name for name, info in self._infos.items() if info.default), OUR_STORE)

    def infos(self) -> Sequence[StoreInfo]:
        """The heaviest first."""
        return sorted(self._infos.values(), key=lambda info: (-info.weight, info.name))

    def info(self, name: str) -> StoreInfo | None:
        """The one with this name."""
        return self._infos.get(name)

    def get(self, name: str) -> Store | None:
        """The one with this name, unless it is our blocks."""
        return self._stores.get(name)

    def of_url(self, url: str) -> Store | None:
        """The one that says that the URL is its own."""
        return next((store for store in self._stores.values() if store.owns(url)), None)

    def ordered(self, locations: Sequence[Location], prefer: Sequence[str] = ()) -> Sequence[Location]:
        """By preference, then weight, then our blocks before others, then as they stand; unknown stores last."""
        first = {name: at for at, name in enumerate(dict.fromkeys(prefer))}

        def key(location: Location) -> tuple[int, bool, int, bool]:
            info = self._infos.get(location.store)
            weight = 0 if info is None else info.weight
            return first.get(location.store, len(first)), info is None, -weight, location.store != OUR_STORE

        return sorted(locations, key=key)

    def to_try(self, locations: Sequence[Location], prefer: Sequence[str] = ()) -> Sequence[Location]:
        """Active ones of stores that can be read, those that are set aside behind all others."""
        readable = [each for each in locations if each.status == ACTIVE and self._is_read(each)]
        ordered = self.ordered(readable, prefer)
        aside = [(until, at) for at, each in enumerate(ordered) if (until := self._aside_until(each)) is not None]
        behind = {at for _, at in aside}
        return [
            *(each for at, each in enumerate(ordered) if at not in behind),
            *(ordered[at] for _, at in sorted(aside)),
        ]

    def failed(self, location: Location) -> None:
        """Set its place aside."""
        place = self._place(location)
        if self._health.aside_until(place) is None:
            _log.warning("Store %s failed and is asked last for a while", location.store)
        self._health.failed(place)

    def worked(self, location: Location) -> None:
        """Its place is in its order."""
        self._health.worked(self._place(location))

    def is_aside(self, name: str) -> bool:
        """Whether all of the store is set aside."""
        return self._health.aside_until(name) is not None

    async def watch(self) -> None:
        """Check all in turns of CHECK_SECONDS, and those whose pause is about to end in between."""
        asked: dict[str, asyncio.Task[None]] = {}
        next_turn = clock.monotonic()
        try:
            while True:
                names = list(self._health.ending(within=2 * LOOK_SECONDS))
                if clock.monotonic() >= next_turn:
                    names += [name for name in self._stores if not self.is_aside(name)]
                    next_turn = clock.monotonic() + CHECK_SECONDS
                for name in names:
                    if name in self._stores and (name not in asked or asked[name].done()):
                        asked[name] = asyncio.create_task(self.check(name))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in asked.values():
                task.cancel()
            await asyncio.gather(*asked.values(), return_exceptions=True)

    async def check(self, name: str) -> None:
        """Ask one store how it is, and believe it. What changed is told in the log."""
        self._health.asks(name)
        try:
            async with asyncio.timeout(CHECK_LIMIT):
                await self._stores[name].check()
        except TimeoutError:
            self._is_down(name, StoreDown(f"Store {name} does not answer within {CHECK_LIMIT:g} seconds."))
        except (CatalogError, OSError) as error:
            self._is_down(name, error)
        else:
            self._health.answered(name)
            if name in self._down:
                self._down.discard(name)
                _log.info("Store %s can be used again", name)

    async def close(self) -> None:
        """Each one, whatever another one's closing comes to."""
        for outcome in await asyncio.gather(*(each.close() for each in self._stores.values()), return_exceptions=True):
            if isinstance(outcome, BaseException):
                _log.error("A store could not be closed", exc_info=outcome)

    def _is_down(self, name: str, error: Exception) -> None:
        self._health.failed(name)
        if name not in self._down:
            self._down.add(name)
            _log.warning("Store %s cannot be used now: %s", name, error)

    def _is_read(self, location: Location) -> bool:
        """A store that is configured otherwise by now knows nothing of the URLs that it had: they are not lost."""
        info, store = self._infos.get(location.store), self._stores.get(location.store)
        return info is not None and info.kind != OPAQUE and (store is None or store.owns(location.url))

    def _aside_until(self, location: Location) -> float | None:
        return self._health.aside_until(self._place(location))

    def _place(self, location: Location) -> str:
        """What fails as one: a store; of those that are the web, each host."""
        info = self._infos.get(location.store)
        if info is None or info.kind != "http":
            return location.store
        return f"{location.store} {urlsplit(location.url).netloc}"


def blocks_alone() -> StoreSet:
    """What there is where nobody configured stores."""
    return StoreSet(several=False)
