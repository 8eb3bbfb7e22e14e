"""The journals of delta uploads that a process remembers: few, in a bounded number of bytes, and each once."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from catalog.usecases import deltas
from tests.catalog.delta_scenes import BLOCK, DATA, begun, send, served

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("most", "kept"), [(1 << 30, 3), (10_000, 2), (1, 1)])
def test_what_is_remembered_has_a_bound_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, kept: int
) -> None:
    monkeypatch.setattr("blockstore.delta_store.KEPT_BYTES", most)

    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            # A leaf in full takes more than 4 KiB.
            size = 4096 * BLOCK
            uploads = [await begun(services, await service.new(), size=size) for _ in range(3)]
            for named in uploads:
                await send(services, named, *((number, DATA[:BLOCK]) for number in range(300)))
            for named in uploads:
                await deltas.show(services, named, start=0, most=1)
            assert list(service.store.deltas._known) == [named.upload_id for named in uploads[-kept:]]
            gc.collect()
            assert len(service.store.deltas._in_use) == kept
            for named in uploads:
                assert (await deltas.show(services, named, start=0, most=1))[1].blocks == 300

    asyncio.run(scenario())


def test_a_journal_in_use_is_not_read_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blockstore.delta_store.KEPT", 1)

    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            one, two = [await begun(services, await service.new()) for _ in range(2)]
            await send(services, one, (0, DATA[:BLOCK]))
            journal = service.store.deltas._known[one.upload_id]
            await send(services, two, (0, DATA[:BLOCK]))
            assert list(service.store.deltas._known) == [two.upload_id]
            await send(services, one, (1, DATA[:BLOCK]))
            assert service.store.deltas._known[one.upload_id] is journal

    asyncio.run(scenario())
