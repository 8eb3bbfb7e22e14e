"""Stores beside a server or a worker: asked now and then how they are, and let go at the end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.store_ports import Stores


@contextlib.asynccontextmanager
async def watching(stores: Stores) -> AsyncIterator[None]:
    """Watch meanwhile, where stores were configured; their connections are let go at the end."""
    watch = asyncio.create_task(stores.watch()) if stores.several else None
    try:
        yield
    finally:
        if watch is not None:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        await stores.close()
