from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from catalog.usecases import images
from httpapi.copy_tending import tend_copies_forever
from tests.catalog.cast import ANNA, RAW, put
from tests.kit.memory_store import MemoryStore
from tests.kit.several_stores import copied, with_stores

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from catalog.usecases.services import Services


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)


def test_a_fault_of_ours_in_one_round_does_not_end_the_others(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", volatile=True))
        image = await put(there, await images.create(there, ANNA, RAW), b"data")
        await copied(there, image.id, fast)

        async def broken(url: str, _size: int | None) -> None:
            raise ZeroDivisionError(url)

        fast.open = broken  # type: ignore[assignment]  # a fault
        tending = asyncio.create_task(tend_copies_forever(there, pause=0.01))
        await until(lambda: "fault of ours" in caplog.text)
        await images.delete(there, ANNA, image.id)
        await until(lambda: not fast.copies)
        tending.cancel()
        await asyncio.wait({tending})

    asyncio.run(scene())
