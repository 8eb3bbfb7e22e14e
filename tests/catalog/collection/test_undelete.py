"""A collection and an image that is brought back meanwhile: its time was over and it is gone, or it is back whole."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from blockstore import clock
from catalog.model.errors import TooLate
from catalog.sql.records import open_records
from catalog.usecases.deleted_images import undelete
from catalog.usecases.expiry import expire_all
from tests.kit.collector import STAGES, collected
from tests.kit.filled_store import verified
from tests.kit.image_service import CALLER, image_service

if TYPE_CHECKING:
    from pathlib import Path

PARENT = random.Random(7).randbytes(300_000)
CHILD = PARENT[:200_000] + random.Random(8).randbytes(100_000)
AT_ONCE = timedelta(0)


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_that_is_brought_back_at_any_stage_is_whole(tmp_path: Path, stage: str) -> None:
    async def scene() -> None:
        with image_service(tmp_path, keep_deleted=86400.0) as service:
            parent = await service.pushed(PARENT)
            child = await service.pushed(CHILD, parent=parent)
            await service.delete(parent)
            await service.delete(child)
            await collected(service.store, {stage: lambda: undelete(service.services, CALLER, child)})
            await collected(service.store)
            assert await service.get(child) == CHILD
            await undelete(service.services, CALLER, parent)
            assert await service.get(parent) == PARENT

    asyncio.run(scene())
    verified(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_what_has_expired_before_its_blocks_are_looked_at_is_not_brought_back_in_part(
    tmp_path: Path, stage: str
) -> None:
    async def scene() -> None:
        with image_service(tmp_path, keep_deleted=86400.0) as service:
            image_id = await service.pushed(PARENT)
            await service.delete(image_id)
            with open_records(tmp_path / "catalog.sqlite") as records:
                assert expire_all(records, clock.now(), AT_ONCE) == 1

            async def too_late() -> None:
                with pytest.raises(TooLate):
                    await undelete(service.services, CALLER, image_id)

            done = await collected(service.store, {stage: too_late})
            assert done.forgotten
            # Its bytes are new ones to whoever uploads them again.
            assert await service.get(await service.pushed(PARENT)) == PARENT

    asyncio.run(scene())
    verified(tmp_path)
