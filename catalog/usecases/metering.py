"""How much one upload may bring: asked when it begins and, where its size is unknown, while it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.usecases import quotas

if TYPE_CHECKING:
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

    def metered(self, source: Source) -> Source:
        """The source, which ends with LimitExceeded or QuotaExceeded as soon as it brings too much."""
        if self._expected is not None:
            return source
        capped = _Capped(source, self._services.limits)
        return _Reserving(capped, self, self._reserved) if self._reserved else capped

    async def more(self, needed: int) -> int:
        """Reserve so many bytes more at least; how many it was."""
        return await self._services.database.write(
            lambda uow: quotas.reserve_more(self._services, uow, self._image_id, self._upload_id, needed)
        )


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
    """A source that reserves before it hands on; what it reserved is asked for once a step, never once a piece."""

    def __init__(self, source: Source, meter: Meter, reserved: int) -> None:
        self._source = source
        self._meter = meter
        self._left = reserved

    async def read_into(self, room: memoryview) -> int:
        got = await self._source.read_into(room)
        if got > self._left:
            self._left += await self._meter.more(got - self._left)
        self._left -= got
        return got
