"""`drystone serve --workers N`: the process that starts N servers on one port, watches them, and stops them in order.

It opens nothing of the data directory: whatever happens to a worker, this process has no part in it. The first worker
starts alone, so that a refusal is told once and a first start or a migration happens once; then the others together. A
worker that dies is started again, at once if it had worked for a while; one that dies right after its start, three
times in a row, stops them all: there is something to put right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi import logs
from httpapi.metrics.place import SUPERVISOR, Member, forget, write_roster
from httpapi.notify import Notifier
from httpapi.workers import link
from httpapi.workers.port import reserve
from httpapi.workers.process import WorkerProcess
from httpapi.workers.shares import LEAST_SLABS, share_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from httpapi.settings import Settings
    from httpapi.workers.port import Reservation

_log = logging.getLogger("drystone.workers")
QUICK_SECONDS: Final = 10.0
"""A worker that ends sooner after its start than this did not get to work."""
MOST_QUICK: Final = 3
FIRST_PAUSE: Final = 0.5
OVERTIME: Final = 12.0
"""Seconds beyond the grace that a stopping worker may take to cancel, seal and close."""


class WorkersFailed(Exception):
    """The service cannot start or go on; the message is a sentence for the user."""


def supervise(settings: Settings) -> None:
    """Serve with `settings.workers` processes until stopped; raises WorkersFailed or SettingsRefused."""
    os.umask(0o077)
    logs.set_up(level=settings.log_level, form=settings.log_format, name="supervisor")
    memory = sum(share_of(settings, number).slab_budget for number in range(1, settings.workers + 1))
    if memory > settings.slab_budget:
        _log.warning(
            "%d workers take %d MiB for transfers, not the %d MiB of slab_budget: none can work with less than %d MiB",
            *(settings.workers, memory >> 20, settings.slab_budget >> 20, LEAST_SLABS >> 20),
        )
    with tempfile.TemporaryDirectory(prefix="drystone-") as directory:
        asyncio.run(_Supervisor(settings, Path(directory)).run())


class _Supervisor:
    """All workers of one service."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._numbers = range(1, settings.workers + 1)
        self._workers: dict[int, WorkerProcess] = {}
        self._starts = dict.fromkeys(self._numbers, 0)
        self._ready = {number: asyncio.Event() for number in self._numbers}
        self._url = self._identity = ""
        self._reservation: Reservation | None = None
        self._stop = asyncio.Event()
        self._notifier = Notifier.from_environment()

    async def run(self) -> None:
        """From the first worker's start to the last one's end."""
        self._take_signals()
        tasks: set[asyncio.Task[None]] = set()
        beating = asyncio.create_task(self._notifier.beat())
        try:
            if await self._up(self._numbers[:1], tasks) and await self._up(self._numbers[1:], tasks):
                self._announce()
                await self._while_well(tasks, self._stop.wait())
        finally:
            self._stop.set()
            self._notifier.stopping()
            await self._end_all()
            beating.cancel()
            await asyncio.gather(*tasks, beating, return_exceptions=True)
            if self._reservation is not None:
                self._reservation.close()

    async def _up(self, numbers: Iterable[int], tasks: set[asyncio.Task[None]]) -> bool:
        """Start these, and wait until they are ready; False when the service is to stop before."""
        numbers = list(numbers)
        tasks |= {asyncio.create_task(self._keep(number)) for number in numbers}
        for number in numbers:
            await self._while_well(tasks, self._ready[number].wait())
        return not self._stop.is_set()

    async def _while_well(self, tasks: set[asyncio.Task[None]], awaited: Awaitable[object]) -> None:
        """Wait for something, or for the order to stop; raises what a keeper failed with meanwhile."""
        waiting = {asyncio.ensure_future(awaited), asyncio.ensure_future(self._stop.wait())}
        try:
            done, _ = await asyncio.wait({*waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        for task in done & tasks:
            task.result()

    async def _keep(self, number: int) -> None:
        """Keep one worker alive until the service stops; raises WorkersFailed when that does not help."""
        quick = 0
        while not self._stop.is_set():
            began = monotonic()
            how = await self._live(number)
            if self._stop.is_set():
                return
            if not self._ready[number].is_set():
                raise WorkersFailed(how)
            forget(number, self._directory)
            quick = quick + 1 if monotonic() - began < QUICK_SECONDS else 0
            if quick >= MOST_QUICK:
                raise WorkersFailed(
                    f"{self._name(number)} ended {MOST_QUICK} times within {QUICK_SECONDS:g} seconds of its start, "
                    f"so all are stopped. The last time: {how}"
                )
            _log.error("%s; it is started again", how)
            await self._pause(FIRST_PAUSE * 2 ** (quick - 1) if quick else 0.0)

    async def _live(self, number: int) -> str:
        """One worker's life; how it ended, as a sentence."""
        worker = await WorkerProcess.start(self._settings, number, self._directory)
        self._workers[number] = worker
        self._starts[number] += 1
        self._tell_roster()
        if self._stop.is_set():
            worker.tell({link.STOP: True})
        try:
            refusal = await self._converse(worker)
        except BaseException:
            worker.tell({link.STOP: True})
            raise
        finally:
            how = await worker.ended()
            del self._workers[number]
            self._tell_roster()
        return refusal or f"{self._name(number)} (process {worker.process.pid}) {how}; the log may say why."

    async def _converse(self, worker: WorkerProcess) -> str:
        """Answer what it says until it ends; the sentence that it was refused with, if it was."""
        refusal = ""
        while message := await worker.said():
            if link.CHECKED in message:
                # Only now: what is wrong with the settings is told before the port is touched.
                self._reservation = self._reservation or reserve(self._settings.listen)
                worker.tell({link.PORT: self._reservation.listen.port})
            elif link.READY in message:
                self._url, self._identity = str(message[link.READY]), str(message[link.IDENTITY])
                worker.is_ready = True
                self._ready[worker.number].set()
            else:
                refusal = str(message.get(link.REFUSED, ""))
        return refusal

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _end_all(self) -> None:
        """Let every worker finish what runs; one that takes far too long is killed."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.tell({link.STOP: True})
        ending = [asyncio.ensure_future(worker.process.wait()) for worker in workers]
        if not ending:
            return
        _, late = await asyncio.wait(ending, timeout=self._settings.shutdown_grace + OVERTIME)
        for worker, end in zip(workers, ending, strict=True):
            if end in late:
                _log.error("%s does not end; it is killed", self._name(worker.number))
                worker.signal(signal.SIGKILL)
        await asyncio.gather(*ending)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_on, number)
        if self._settings.tls_certificate is not None:
            loop.add_signal_handler(signal.SIGHUP, self._read_again)

    def _stop_on(self, number: int) -> None:
        """The first signal stops the service, the second one ends it at once."""
        if not self._stop.is_set():
            self._stop.set()
            return
        self._pass_on(signal.SIGKILL)
        shutil.rmtree(self._directory, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _read_again(self) -> None:
        """Have the TLS files read again; a worker that still starts would die of the signal, and reads them anyway."""
        for worker in self._workers.values():
            if worker.is_ready:
                worker.signal(signal.SIGHUP)

    def _pass_on(self, number: int) -> None:
        for worker in self._workers.values():
            worker.signal(number)

    def _announce(self) -> None:
        workers = f"{self._settings.workers} workers"
        sys.stdout.write(f"Drystone serves {self._settings.data} on {self._url} ({self._identity}; {workers})\n")
        sys.stdout.flush()
        self._notifier.ready(f"Serving on {self._url} with {workers}")

    def _tell_roster(self) -> None:
        members = {
            str(number): Member(worker.process.pid, self._starts[number]) for number, worker in self._workers.items()
        }
        write_roster(self._directory, {SUPERVISOR: Member(os.getpid(), 1), **members})

    def _name(self, number: int) -> str:
        return f"Worker {number}/{self._settings.workers}"
