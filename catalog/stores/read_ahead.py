"""Reading a far object by ranges, some of them ahead of the receiver: what one connection gives is not the measure."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from catalog.blocking import to_its_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from catalog.stores.memory_budget import MemoryBudget

PIECE: Final = 1 << 20
"""The longest piece that is given."""
SMALLEST: Final = 256 * 1024
"""The range that a reader may always ask for, however many read at once."""
FIRST: Final = 1 << 20
LONGEST: Final = 4 << 20
"""Ranges grow from the first to the longest: a short read costs little, a long one few requests."""
AHEAD: Final = 3
"""Ranges under way at once."""


class _Range(NamedTuple):
    fetched: asyncio.Task[Sequence[memoryview]]
    counted: int


async def read_ahead(
    fetch: Callable[[int, int], Awaitable[Sequence[memoryview]]], start: int, stop: int, budget: MemoryBudget
) -> AsyncGenerator[memoryview, None]:
    """The bytes in order, in pieces; `fetch` gives all of one range, in parts, or raises.

    What is held ahead counts against the budget. If that is spent, one small range at a time is read all the same: no
    reader waits for another's slow receiver.
    """
    under_way: deque[_Range] = deque()
    at, length = start, FIRST
    try:
        while at < stop or under_way:
            if at < stop and len(under_way) < AHEAD:
                wanted = min(length, stop - at)
                counted = wanted if budget.try_take(wanted) else 0
                if counted or not under_way:
                    end = at + (wanted if counted else min(SMALLEST, wanted))
                    under_way.append(_Range(asyncio.ensure_future(fetch(at, end)), counted))
                    at, length = end, min(length * 2, LONGEST)
                    continue
            parts = await asyncio.shield(under_way[0].fetched)
            for view in parts:
                for begin in range(0, len(view), PIECE):
                    yield view[begin : begin + PIECE]
            budget.give(under_way.popleft().counted)
    finally:
        for each in under_way:
            each.fetched.cancel()
        await to_its_end(asyncio.gather(*(each.fetched for each in under_way), return_exceptions=True))
        for each in under_way:
            budget.give(each.counted)
