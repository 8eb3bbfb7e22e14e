"""What a service manager wants to be told: that the server is ready, that it lives, that it stops (sd_notify(3)).

Nothing is sent where nobody asked, that is, where NOTIFY_SOCKET is not set.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

from httpapi.settings import notify_variables

_log = logging.getLogger("drystone.server")
_MICROSECONDS: Final = 1_000_000


class Notifier:
    """Tells systemd, or whoever listens on NOTIFY_SOCKET; `beat_seconds` is how often it wants a sign of life."""

    def __init__(self, path: str, watchdog_microseconds: str = "") -> None:
        # A name in the abstract space begins with a zero byte, which a variable can't hold.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        asked = watchdog_microseconds if watchdog_microseconds.isascii() and watchdog_microseconds.isdigit() else "0"
        # Three signs within the time, so that one that is late does no harm.
        self.beat_seconds = int(asked) / _MICROSECONDS / 3

    @classmethod
    def from_environment(cls) -> Notifier:
        """The one that this process was started with."""
        return cls(*notify_variables())

    def ready(self, status: str) -> None:
        """Requests are taken; `status` is a line for people."""
        self._send(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """No more requests are taken; those that run may finish."""
        self._send("STOPPING=1\nSTATUS=Finishing the requests that run")

    async def beat(self) -> None:
        """Give signs of life until cancelled, if they are wanted: they stop when the loop stands still."""
        while self._address and self.beat_seconds > 0:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.beat_seconds)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.connect(self._address)
                manager.sendall(message.encode())
        except OSError as error:
            _log.warning("The service manager at NOTIFY_SOCKET could not be told %r: %s", message, error.strerror)
