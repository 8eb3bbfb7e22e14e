"""How much one upload may bring: asked when it begins and, where its size is unknown, while it comes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from catalog.blocking import to_its_end
from catalog.model.errors import CatalogError
from catalog.usecases import quotas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.limits import Limits
    from catalog.model.image import Image
    from catalog.ports import Source, UnitOfWork
    from catalog.usecases.services import Services


class Meter:
    """One stream's: `admit` in the transaction that begins it, then `metered` around what comes.

    `expected` is its size, None if that is unknown. A source of known size is read as it is: whoever stores it counts
    anyway, and refuses a byte too many.
    """

    def __init__(self, services: Services, upload_id: str, expected: int | None) -> None:
        self._services = services
        self._upload_id = upload_id
        self._expected = expected
        self._image_id = ""
        self._reserved = 0

    def admit(self, uow: UnitOfWork, image: Image) -> int:
        """What to reserve for the stream. Raises LimitExceeded, QuotaExceeded."""
        self._image_id = image.id
        self._reserved = quotas.admit(self._services, uow, image.owner, self._expected)
        return self._reserved

    @asynccontextmanager
    async def metered(self, source: Source) -> AsyncIterator[Source]:
        """The source, which ends with LimitExceeded or QuotaExceeded as soon as it brings too much."""
        if self._expected is not None:
            yield source
            return
        capped = _Capped(source, self._services.limits)
        if not self._reserved:
            yield capped
            return
        reserving = _Reserving(capped, self, self._reserved, low=self._services.limits.reserve_step // 4)
        try:
            yield reserving
        finally:
            await to_its_end(reserving.settled())

    async def more(self, needed: int) -> int:
        """Reserve so many bytes more at least; how many it was."""
        return await self._services.database.write(
            lambda uow: quotas.reserve_more(self._services, uow, self._image_id, self._upload_id, needed)
        )

    async def ahead(self) -> int:
        """Reserve some before they are needed; 0 where that cannot be: whoever needs them is told why."""
        try:
            return await self.more(1)
        except CatalogError:
            return 0


class _Capped:
    """A source of unknown length, cut off with LimitExceeded as soon as it is longer than an image may be."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._taken = 0

    async def read_into(self, room: memoryview) -> int:
        got = await self._source.read_into(room)
        self._taken += got
        self._limits.check_size(self._taken)
        return got


class _Reserving:
    """A source that reserves before it hands on, once a step, never once a piece.

    When less than `low` is left it asks for more while it reads on: so it hardly ever waits for the database.
    """

    def __init__(self, source: Source, meter: Meter, reserved: int, *, low: int) -> None:
        self._source = source
        self._meter = meter
        self._left = reserved
        self._low = low
        self._ahead: asyncio.Task[int] | None = None
        self._asks_ahead = True

    async def read_into(self, room: memoryview) -> int:
        got = await self._source.read_into(room)
        if got > self._left:
            await self.settled()
        if got > self._left:
            self._left += await self._meter.more(got - self._left)
            self._asks_ahead = True
        self._left -= got
        if self._left < self._low and self._asks_ahead and self._ahead is None:
            self._ahead = asyncio.create_task(self._meter.ahead())
        return got

    async def settled(self) -> None:
        """What was asked for ahead is there, or is not to be had."""
        if self._ahead is None:
            return
        granted = await to_its_end(self._ahead)
        self._ahead = None
        self._left += granted
        # Near the limit nothing is gained by asking twice.
        self._asks_ahead = granted > 0
