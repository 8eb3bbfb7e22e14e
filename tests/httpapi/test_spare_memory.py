"""Giving memory back must never be what ends a server."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from httpapi import spare_memory
from httpapi.spare_memory import giving_back

if TYPE_CHECKING:
    import pytest


def test_it_goes_on_when_no_file_can_be_opened_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = asyncio.Event()
    looks = iter([0, -1])

    def memory() -> int:
        if (look := next(looks, 1 << 30)) < 0:
            raise OSError(errno.EMFILE, "Too many open files")
        return look

    async def serve() -> None:
        async with giving_back(lambda: True, given_back.set), asyncio.timeout(20):
            await given_back.wait()

    monkeypatch.setattr(spare_memory, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(spare_memory, "_own_memory", memory)
    asyncio.run(serve())
