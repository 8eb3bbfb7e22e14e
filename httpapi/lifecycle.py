"""A server's life: sweep, listen, say so, serve until told to stop, let running requests finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

from httpapi.connection import Runner, connection_runner
from httpapi.listening import Listening, Site
from httpapi.middlewares import IN_FLIGHT
from httpapi.notify import Notifier
from httpapi.setting_values import Listen
from httpapi.settings import SettingsRefused
from httpapi.sweep import sweep_forever, sweep_once
from httpapi.wire.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from aiohttp import web

    from catalog.usecases.services import Services
    from httpapi.identity.contract import Identity

_log = logging.getLogger("drystone.server")
# After the grace: how long a cancelled request may take to put its image back.
_CANCEL_SECONDS = 2.0


def check_listen(listen: Listen, identity: Identity, *, tls: bool = False, insecure: bool = False) -> None:
    """Raise SettingsRefused when callers could come from other machines and nobody would tell them apart.

    So it does when they are told apart by passwords that others on the network could read: without `tls`, unless
    that is allowed as `insecure`.
    """
    if is_loopback(listen.host):
        return
    if identity.takes_passwords and not (tls or insecure):
        raise SettingsRefused(
            f"Listening on {listen} without TLS would send every password or token in the clear over the network: set "
            "tls_certificate and tls_key, or listen on 127.0.0.1 behind a proxy that speaks TLS; "
            "--insecure (the setting insecure) allows it all the same."
        )
    if not identity.reaches_beyond_loopback:
        raise SettingsRefused(
            f"Listening on {listen} would let everybody on the network change every image, as there is no identity: "
            'listen on 127.0.0.1, localhost or ::1, or let users log in with the setting identity = "basic".'
        )


async def serve(
    app: web.Application,
    services: Services,
    *,
    listening: Listening,
    grace: float,
    announce: Callable[[str], None],
    stop_asked: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then for up to `grace` seconds finish what runs; a second signal ends at once.

    `stop_asked` returns when somebody else asks for the same as the first signal does.

    `announce` is called with the real address, as a URL, once requests are taken; a service manager is told then too.
    SIGHUP reads the TLS files again, where there are any. Raises SettingsRefused when the address cannot be had.
    """
    stop = stop_signal()
    notifier = Notifier.from_environment()
    await sweep_once(services)
    runner = connection_runner(
        app,
        shutdown_seconds=_CANCEL_SECONDS,
        header_timeout=listening.header_timeout,
        body_timeout=listening.body_timeout,
    )
    await runner.setup()
    try:
        watching = (notifier.beat(), *_tls_watch(listening), _pass_on(stop_asked, stop))
        async with _beside(sweep_forever(services), *watching):
            site = Site(runner, listening)
            await _start(site, listening.address)
            url = f"{listening.scheme}://{Listen(listening.address.host, _port_of(runner))}"
            announce(url)
            notifier.ready(f"Serving on {url}")
            await stop.wait()
            notifier.stopping()
            await site.stop()
            await _drain(app, grace)
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _beside(*coroutines: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these until the block ends."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.error("A task beside the server had ended with an error", exc_info=outcome)


async def _pass_on(stop_asked: Callable[[], Awaitable[None]] | None, stop: asyncio.Event) -> None:
    if stop_asked is not None:
        await stop_asked()
        stop.set()


def _tls_watch(listening: Listening) -> list[Coroutine[None, None, None]]:
    """What reads the TLS files again; without TLS a SIGHUP keeps its usual effect."""
    if listening.tls is None:
        return []
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    return [listening.tls.watch(asked)]


def stop_signal() -> asyncio.Event:
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


async def _start(site: Site, listen: Listen) -> None:
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
