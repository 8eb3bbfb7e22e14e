"""Jobs beside requests, and a process for jobs alone: the catalog's worker, started and stopped as a server is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from catalog.jobs.worker import Worker
from httpapi.lifecycle import stop_signal
from httpapi.outgoing import leaving
from httpapi.store_watch import watching
from httpapi.sweep import sweep_forever, sweep_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from catalog.model.lane import Places
    from catalog.usecases.services import Services

GRACE_IN_SERVER: Final = 5.0
"""Seconds that a job may still take when its server's last request is over; then another server or worker has it."""

_log = logging.getLogger("drystone.jobs")


@asynccontextmanager
async def working(
    services: Services, at_once: Places, *, grace: float = GRACE_IN_SERVER
) -> AsyncIterator[asyncio.Task[None] | None]:
    """Run up to `at_once` jobs meanwhile. At the end what runs has `grace` seconds, then it is put back.

    Gives the worker's task, which ends early only by a fault of ours.
    """
    if not at_once.quick + at_once.slow:
        yield None
        return
    worker = Worker(services, at_once=at_once)
    running = asyncio.create_task(worker.run(grace=grace))
    running.add_done_callback(_tell)
    try:
        yield running
    finally:
        worker.stop()
        await running


async def work(services: Services, *, at_once: Places, grace: float, announce: Callable[[], None]) -> None:
    """Work on jobs, and sweep, until SIGTERM or SIGINT; `announce` is called when jobs are taken.

    A fault of ours that ends either is raised: whoever watches this process should start it again.
    """
    stop = stop_signal()
    await sweep_once(services)
    sweeping = asyncio.create_task(sweep_forever(services))
    stopping = asyncio.create_task(stop.wait())
    try:
        stores, way_out = watching(services.stores), leaving(services.outgoing)
        async with way_out, stores, working(services, at_once, grace=grace) as running:
            announce()
            beside = {sweeping, stopping} if running is None else {sweeping, stopping, running}
            await asyncio.wait(beside, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeping


def _tell(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        _log.critical("This process works on no jobs any more: restart it.", exc_info=error)
