"""Memory for what is far away: bounded, given back, and nobody is passed over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from catalog.stores.memory_budget import MIB, MemoryBudget
from catalog.stores.read_ahead import AHEAD, LONGEST, PIECE, SMALLEST, read_ahead

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = bytes(range(251)) * (21 * MIB // 251)


def test_writers_wait_in_line_and_a_large_one_is_not_passed_over() -> None:
    async def scenario() -> None:
        budget = MemoryBudget(10)
        order: list[int] = []

        async def write(size: int) -> None:
            async with budget.held(size):
                order.append(size)
                await asyncio.sleep(0)

        async with budget.held(6):
            waiting = [asyncio.create_task(write(size)) for size in (100, 3, 2)]
            await asyncio.sleep(0.01)
            assert order == []
            assert not budget.try_take(1)
        await asyncio.gather(*waiting)
        assert order == [100, 3, 2]
        assert budget.try_take(10)

    asyncio.run(scenario())


def test_who_stops_waiting_holds_nothing_and_nobody_up() -> None:
    async def scenario() -> None:
        budget = MemoryBudget(10)

        async def write(size: int) -> None:
            async with budget.held(size):
                await asyncio.sleep(3600)

        first, second, third = (asyncio.create_task(write(size)) for size in (6, 9, 4))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        assert not budget.try_take(1)
        for each in (first, third):
            each.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert budget.try_take(10)

    asyncio.run(scenario())


class Far:
    """Something that is read by ranges; notes how much of it is under way."""

    def __init__(self, seconds: float = 0.001) -> None:
        self.seconds = seconds
        self.under_way = self.most = 0
        self.asked: list[int] = []

    async def fetch(self, start: int, stop: int) -> Sequence[memoryview]:
        self.asked.append(stop - start)
        self.under_way += stop - start
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.seconds if start else 0)
            return [memoryview(DATA)[start : stop - 1], memoryview(DATA)[stop - 1 : stop]]
        finally:
            self.under_way -= stop - start


@pytest.mark.parametrize("room", [0, 3 * MIB, 100 * MIB])
def test_ranges_are_read_ahead_as_far_as_there_is_room(room: int) -> None:
    async def scenario() -> None:
        far, budget = Far(), MemoryBudget(room)
        taken = bytearray()
        async for piece in read_ahead(far.fetch, 5, len(DATA) - 3, budget):
            assert 0 < len(piece) <= PIECE
            taken += piece
        assert taken == DATA[5:-3]
        assert far.most <= min(room, AHEAD * LONGEST) + SMALLEST
        assert budget.try_take(room)

    asyncio.run(scenario())


def test_a_reader_that_goes_ends_what_is_under_way() -> None:
    async def scenario() -> None:
        far, budget = Far(3600), MemoryBudget(100 * MIB)
        reading = read_ahead(far.fetch, 0, len(DATA), budget)
        await anext(reading)
        assert far.under_way
        await reading.aclose()
        assert not far.under_way
        assert budget.try_take(100 * MIB)

    asyncio.run(scenario())
