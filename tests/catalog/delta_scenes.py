"""A served store and the small acts that every scene with a delta upload needs."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.sent_blocks import EntryBegins
from catalog.usecases import delta_begin, deltas
from catalog.usecases.deltas import Named
from tests.kit.image_service import CALLER, image_service
from tests.kit.sent_deltas import entry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from catalog.delta_ports import Part
    from catalog.usecases.services import Services
    from tests.kit.image_service import ImageService

BLOCK = 4096
DATA = random.Random(3).randbytes(20 * BLOCK)


class Clock:
    def __init__(self) -> None:
        self.passed = timedelta()

    def __call__(self) -> datetime:
        return clock.now() + self.passed


@contextmanager
def served(root: Path) -> Iterator[tuple[ImageService, Services, Clock]]:
    ticking = Clock()
    with image_service(root) as service:
        yield service, replace(service.services, clock=ticking, delta_expiry=100.0), ticking


async def parts(
    *blocks: tuple[int, bytes], then: Callable[[], Awaitable[object]] | None = None
) -> AsyncGenerator[Part, None]:
    for number, block in blocks:
        sent = entry(block)
        yield EntryBegins(number, len(sent))
        yield memoryview(sent)
    if then is not None:
        await then()


async def begun(services: Services, image_id: str, *, base: str | None = None, size: int = len(DATA)) -> Named:
    delta = await delta_begin.begin(services, CALLER, image_id, size=size, base=base, block_size=BLOCK)
    return Named(CALLER, image_id, delta.id)


async def send(services: Services, named: Named, *blocks: tuple[int, bytes]) -> None:
    await deltas.take(services, named, lambda _: parts(*blocks))
