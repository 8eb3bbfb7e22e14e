"""What a project may have under way: uploads, and the records of its delta uploads."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from blockstore.journal import HEADER_SIZE, RECORD_SIZE
from catalog.limits import Limits
from catalog.model.errors import LimitExceeded
from catalog.usecases import deltas, image_data
from tests.catalog.delta_scenes import BLOCK, begun, send, served
from tests.kit.image_service import CALLER, pieces
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from pathlib import Path

DATA = random.Random(5).randbytes(20 * BLOCK)


def some(*numbers: int) -> list[tuple[int, bytes]]:
    return [(number, DATA[number * BLOCK : (number + 1) * BLOCK]) for number in numbers]


def test_one_upload_more_than_a_project_may_have_is_refused_until_one_ends(tmp_path: Path) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, services, _):
            bounded = replace(services, limits=Limits(uploads=2))
            named = [await begun(bounded, await service.new(), size=len(DATA)) for _ in range(2)]
            third = await service.new()
            with pytest.raises(LimitExceeded, match="2 uploads under way; 2 are the most"):
                await begun(bounded, third, size=len(DATA))
            source = PiecesSource(pieces(DATA, 100_000))
            with pytest.raises(LimitExceeded):
                await image_data.upload(bounded, CALLER, third, source, expected=len(DATA))
            assert await service.status(third) == "queued"
            await deltas.give_up(bounded, named[0])
            source = PiecesSource(pieces(DATA, 100_000))
            await image_data.upload(bounded, CALLER, third, source, expected=len(DATA))
            assert await service.get(third) == DATA

    asyncio.run(scene())


def test_blocks_are_refused_when_the_records_of_a_projects_delta_uploads_are_too_many(tmp_path: Path) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, services, _):
            most = 2 * HEADER_SIZE + 5 * RECORD_SIZE
            bounded = replace(services, limits=Limits(journal_bytes=most))
            named = [await begun(bounded, await service.new(), size=len(DATA)) for _ in range(2)]
            await send(bounded, named[0], *some(0, 1, 2, 3))
            await send(bounded, named[1], *some(0))
            for each in named:
                with pytest.raises(LimitExceeded, match=f"take {most} bytes; {most} are the most"):
                    await send(bounded, each, *some(5))
            with pytest.raises(LimitExceeded):
                await begun(bounded, await service.new(), size=len(DATA))
            await deltas.give_up(bounded, named[0])
            await send(bounded, named[1], *some(5))

    asyncio.run(scene())
