"""How much memory transfers with far stores may hold together: one number a process for reads, one for writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB: Final = 1 << 20


class MemoryBudget:
    """So many bytes, taken and given back; the event loop's thread alone touches it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, size: int) -> bool:
        """Take so much if it is there and nobody waits for it."""
        if self._line or self._held + size > self._total:
            return False
        self._held += size
        return True

    def give(self, size: int) -> None:
        """Give back what was taken; whoever has waited longest goes on."""
        self._held -= size
        self._admit()

    @contextlib.asynccontextmanager
    async def held(self, size: int) -> AsyncIterator[None]:
        """Hold so much, waited for in line; what is more than all there is has all of it, alone."""
        size = min(size, self._total)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((size, turn))
        self._admit()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self.give(size)
            else:
                self._line = deque(each for each in self._line if each[1] is not turn)
                self._admit()

    def _admit(self) -> None:
        while self._line:
            size, turn = self._line[0]
            if turn.cancelled():
                self._line.popleft()
                continue
            if self._held + size > self._total:
                return
            self._line.popleft()
            self._held += size
            turn.set_result(None)


@dataclass(frozen=True, slots=True)
class FarMemory:
    """The process's two: a reader that gets nothing reads in small steps, a writer waits for its turn."""

    reads: MemoryBudget = field(default_factory=lambda: MemoryBudget(96 * MIB))
    writes: MemoryBudget = field(default_factory=lambda: MemoryBudget(128 * MIB))
