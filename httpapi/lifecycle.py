"""A server's life: sweep, listen, say so, serve until told to stop, let running requests finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

from aiohttp import web

from httpapi.connection import Runner, connection_runner
from httpapi.identity.none import is_loopback
from httpapi.middlewares import IN_FLIGHT
from httpapi.setting_values import Listen
from httpapi.settings import SettingsRefused
from httpapi.sweep import sweep_forever, sweep_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.usecases.services import Services
    from httpapi.identity.contract import Identity

_log = logging.getLogger("drystone.server")
# After the grace: how long a cancelled request may take to put its image back.
_CANCEL_SECONDS = 2.0


def check_listen(listen: Listen, identity: Identity) -> None:
    """Raise SettingsRefused when callers could come from other machines and nobody would tell them apart."""
    if not identity.reaches_beyond_loopback and not is_loopback(listen.host):
        raise SettingsRefused(
            f"Listening on {listen} would let everybody on the network change every image, as there is no identity: "
            "listen on 127.0.0.1, localhost or ::1, and put a tunnel or an authenticating proxy before it."
        )


async def serve(
    app: web.Application, services: Services, *, listen: Listen, grace: float, announce: Callable[[Listen], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then for up to `grace` seconds finish what runs; a second signal ends at once.

    `announce` is called with the real address once requests are taken. Raises SettingsRefused when the address
    cannot be listened on.
    """
    stop = _stop_signal()
    await sweep_once(services)
    runner = connection_runner(app, shutdown_seconds=_CANCEL_SECONDS)
    await runner.setup()
    sweeping = asyncio.create_task(sweep_forever(services))
    try:
        site = web.TCPSite(runner, listen.host, listen.port)
        await _start(site, listen)
        announce(Listen(listen.host, _port_of(runner)))
        await stop.wait()
        await site.stop()
        await _drain(app, grace)
    finally:
        sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeping
        await runner.cleanup()


def _stop_signal() -> asyncio.Event:
    """Set by the first signal; the second one then has the kernel's own effect."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first)
    return stop


async def _start(site: web.TCPSite, listen: Listen) -> None:
    try:
        await site.start()
    except OSError as error:
        raise SettingsRefused(
            f"{listen} cannot be listened on ({_reason(error)}): choose another address with --listen HOST:PORT."
        ) from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def _port_of(runner: Runner) -> int:
    return int(runner.addresses[0][1])


async def _drain(app: web.Application, grace: float) -> None:
    in_flight = app[IN_FLIGHT]
    in_flight.stopping = True
    try:
        async with asyncio.timeout(grace):
            await in_flight.drained()
    except TimeoutError:
        _log.warning("Requests that still ran after %g s are ended; their uploads can be sent again.", grace)
