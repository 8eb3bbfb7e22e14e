"""A worker's end of its connection to the supervisor: lines of JSON, one at a time, over a pair of sockets.

    supervisor                     worker
    settings, number, directory →            it is that worker
                                 ← checked   the settings can be used
    port                         →           open the data directory, listen there
                                 ← ready     or, at any point before, refused with a sentence
    stop, or the end             →           finish what runs

The connection ends with either process, whatever way it dies: so no worker outlives its supervisor, and the supervisor
sees every death.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from httpapi.metrics.place import Place
from httpapi.setting_values import Listen
from httpapi.workers.shares import from_document

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from httpapi.settings import Settings

SETTINGS: Final = "settings"
NUMBER: Final = "number"
OF: Final = "of"
DIRECTORY: Final = "directory"
PORT: Final = "port"
STOP: Final = "stop"
CHECKED: Final = "checked"
READY: Final = "ready"
IDENTITY: Final = "identity"
REFUSED: Final = "refused"


class Dismissed(Exception):
    """The supervisor wants no worker any more, or is gone, before this one has begun."""


@dataclass(slots=True)
class Link:
    """See the module. Blocking until the server runs; from then on only `stop_asked` reads."""

    connection: socket.socket
    place: Place
    settings: Settings
    orphaned: bool = False

    @classmethod
    def open(cls, connection: socket.socket) -> Link:
        """Take the first line in; raises Dismissed."""
        told = _receive(connection)
        number, of = told[NUMBER], told[OF]
        assert isinstance(number, int)
        assert isinstance(of, int)
        document = told[SETTINGS]
        assert isinstance(document, dict)
        return cls(connection, Place(number, of, Path(str(told[DIRECTORY]))), from_document(document))

    def checked(self) -> Listen:
        """The settings are usable: where to listen; raises Dismissed."""
        self._send({CHECKED: True})
        port = _receive(self.connection)[PORT]
        assert isinstance(port, int)
        return Listen(self.settings.listen.host, port)

    def ready(self, url: str, identity: str) -> None:
        """Requests are taken."""
        self._send({READY: url, IDENTITY: identity})

    def refused(self, sentence: str) -> None:
        """This worker cannot start."""
        self._send({REFUSED: sentence})

    async def stop_asked(self) -> None:
        """Wait until the supervisor says stop, or is gone."""
        self.connection.setblocking(False)
        said = b""
        with contextlib.suppress(ConnectionError):
            said = await asyncio.get_running_loop().sock_recv(self.connection, 4096)
        self.orphaned = not said

    def _send(self, message: Mapping[str, object]) -> None:
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except ConnectionError:
            # Its end is noticed where the next order is waited for.
            return


def _receive(connection: socket.socket) -> Mapping[str, object]:
    """The next line, whole; the supervisor sends no second one before it is answered, but for `stop`.

    That one may come in one piece with the first, when the service is stopped while this process starts.
    """
    line = bytearray()
    while not line.endswith(b"\n"):
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise Dismissed
        line += piece
    messages: list[Mapping[str, object]] = [json.loads(each) for each in line.splitlines()]
    if any(STOP in message for message in messages):
        raise Dismissed
    return messages[0]
