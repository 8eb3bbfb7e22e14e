"""The double of stores keeps the promises that its users are tested with."""

from __future__ import annotations

import asyncio

import pytest

from catalog.model.errors import StoreDown
from tests.contracts.stores import IMAGE, StoreContract
from tests.kit.copies import BytesCopy, all_of
from tests.kit.memory_store import MemoryStore


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore("double")

    @pytest.fixture
    def down(self) -> MemoryStore:
        made = MemoryStore("double")
        made.down = True
        return made


def test_it_breaks_off_where_it_is_told_to() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        url = store.place(IMAGE)
        await store.write(url, BytesCopy(b"0123456789"))
        reader = await store.open(url, 10)
        store.breaks_at = 4
        pieces = reader.read(1, 10)
        assert await anext(pieces) == b"123"
        with pytest.raises(StoreDown):
            await anext(pieces)
        store.breaks_at = None
        assert await all_of(reader, 4, 10) == b"456789"

    asyncio.run(scenario())
