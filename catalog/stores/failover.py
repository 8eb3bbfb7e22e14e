"""Reading an image that lies in several places: from the first that gives it, and from the next when that one fails.

Also in mid-stream, at the very byte: whoever reads notices nothing. A place that failed is tried again in the same read
only after another one has given a piece, so that every round brings it on. When no place is left the last one's error
passes through.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from blockstore.errors import BlockstoreError
from catalog.model.errors import CatalogError, StoreDown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from blockstore.stored_span import StoredSpan
    from catalog.model.location import Location
    from catalog.store_ports import CopyReader

log = logging.getLogger(__name__)

FAILURES: Final = (BlockstoreError, CatalogError, OSError)
"""What a place fails with, ours of blocks or another's."""


@dataclass(frozen=True, slots=True)
class OpenPlace:
    """A place that is open for reading; `stored` reads it as frames, where it has such."""

    location: Location
    reader: CopyReader
    stored: Callable[[], AsyncIterator[StoredSpan]] | None = None


class Ways(Protocol):
    """The places of one image, for one read."""

    async def following(self, tried: Collection[str]) -> Location | None:
        """The place to try next, whose URL is none of `tried`; None when there is none."""
        ...

    async def open(self, location: Location, size: int | None) -> OpenPlace:
        """Open a place; `size` is what its bytes must be, None: what the image has."""
        ...

    async def failed(self, location: Location, error: Exception) -> None:
        """It could not be opened, or broke off."""
        ...

    def worked(self, location: Location) -> None:
        """Bytes came from there."""
        ...


class FailoverReader:
    """`catalog.block_ports.Reader` over the places of one image; opened by `open_first`."""

    def __init__(self, ways: Ways, first: OpenPlace) -> None:
        self._ways = ways
        self._place = first
        self._size = first.reader.size
        self._tried: set[str] = set()
        self._proved = False

    @property
    def size(self) -> int:
        """The image's length in bytes."""
        return self._size

    @property
    def location(self) -> Location:
        """Where it is read from now."""
        return self._place.location

    @property
    def has_stored(self) -> bool:
        """Whether the place that it is read from now has frames."""
        return self._place.stored is not None

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes | memoryview, None]:
        """The bytes from `start` up to `stop`, in pieces as the places give them; none twice, none left out."""
        at = start
        while at < stop:
            try:
                async with _closing(self._place.reader.read(at, stop)) as pieces:
                    async for piece in pieces:
                        length = len(piece)
                        yield piece
                        at += length
                        self._went_on()
                _require_all(self._place.location, at, stop)
            except FAILURES as error:
                await self._move_on(error, at)

    def read_stored(self) -> AsyncIterator[StoredSpan]:
        """The whole image as frames, from the place that is open: where it lies as frames, `has_stored`."""
        assert self._place.stored is not None
        return self._place.stored()

    def close(self) -> None:
        """Close the place that is open."""
        self._place.reader.close()

    def _went_on(self) -> None:
        if not self._proved:
            self._proved = True
            self._tried.clear()
            self._ways.worked(self._place.location)

    async def _move_on(self, error: Exception, at: int) -> None:
        """Open another place in the stead of the one that failed. Raises its error when there is none."""
        left = self._place.location
        self._tried.add(left.url)
        await self._ways.failed(left, error)
        self._place.reader.close()
        try:
            place = await _opened(self._ways, self._tried, self._size)
        except FAILURES as last:
            raise last from error
        if place is None:
            raise error
        self._place, self._proved = place, False
        log.warning("reading goes on from %s at byte %d: %s failed: %s", place.location.store, at, left.store, error)


async def open_first(ways: Ways) -> FailoverReader | None:
    """Open the first place that can be opened; None when there is no place at all. Raises the last one's error."""
    place = await _opened(ways, set(), None)
    return None if place is None else FailoverReader(ways, place)


async def _opened(ways: Ways, tried: set[str], size: int | None) -> OpenPlace | None:
    last: Exception | None = None
    while (location := await ways.following(tried)) is not None:
        try:
            place = await ways.open(location, size)
        except FAILURES as error:
            tried.add(location.url)
            last = error
            await ways.failed(location, error)
        else:
            return place
    if last is not None:
        raise last
    return None


@asynccontextmanager
async def _closing(
    pieces: AsyncIterator[bytes | memoryview],
) -> AsyncGenerator[AsyncIterator[bytes | memoryview], None]:
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _require_all(location: Location, at: int, stop: int) -> None:
    if at != stop:
        raise StoreDown(f"Store {location.store} gave bytes up to {at} where {stop} belong.")
