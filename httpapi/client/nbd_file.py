"""An NBD export that is read by position, such as the disk of a running virtual machine.

Reads borrow connections (`nbd_connection.py`); a further one is made when none is idle. Where the server takes no
further one (qemu-nbd without --shared serves one at a time), those that there are do. Of a disk that we serve to
ourselves what is zeros is not read, by the server's maps; a running machine's may change under them, and is read.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from httpapi.client.errors import SourceRefused
from httpapi.client.nbd_connection import ALLOCATION, DEPTH, SECONDS, ZEROS, Connection, Unanswered
from httpapi.client.nbd_map import NbdMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from httpapi.client.block_file import Below, BlockFile, Stamp

USUAL_PORT: Final = 10809
_FURTHER_SECONDS: Final = 2.0
_MOST_CONNECTIONS: Final = 8
_LONGEST_READ: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class NbdPlace:
    """Where an export is: a socket's path, or a host and port; and its name."""

    name: str
    path: str | None = None
    host: str = "localhost"
    port: int = USUAL_PORT


def parse_uri(uri: str) -> NbdPlace:
    """`nbd://HOST[:PORT]/NAME` or `nbd+unix:///NAME?socket=PATH`; SourceRefused for anything else."""
    form = f"{uri} is no NBD address: nbd://HOST:PORT/EXPORT and nbd+unix:///EXPORT?socket=PATH are"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise SourceRefused(form) from None
    name = unquote(parts.path.removeprefix("/"))
    sockets = parse_qs(parts.query).get("socket", [])
    if parts.scheme == "nbd" and not parts.query:
        return NbdPlace(name, host=parts.hostname or "localhost", port=port or USUAL_PORT)
    if parts.scheme == "nbd+unix" and not parts.netloc and len(sockets) == 1:
        return NbdPlace(name, path=sockets[0])
    raise SourceRefused(form)


class NbdFile:
    """As `BlockFile`: nothing tells whether it has changed. SourceRefused for whatever fails.

    `name` is its address, see `parse_uri`; or any name for the export "" behind what `connect` makes, which is told
    after how many seconds to give up.
    """

    def __init__(self, name: str, *, connect: Callable[[float], socket.socket] | None = None) -> None:
        self.name = name
        place = NbdPlace("") if connect is not None else parse_uri(name)
        self._export = place.name
        self._way = connect or partial(_connect, place)
        self._maps = () if connect is None else (ALLOCATION, DEPTH)
        first = self._connect(SECONDS)
        self.size = first.size
        # Guards what follows; told when a connection is idle again, or none ever will be.
        self._turn = threading.Condition()
        self._open, self._idle = [first], [first]
        self._opening = False
        self._stopped = threading.Event()
        self._why = f"{name} is not read any more"
        self._most = _MOST_CONNECTIONS
        self._data = NbdMap(self.size, partial(self._status, ALLOCATION), lambda flags: not flags & ZEROS)
        self._mapped = ALLOCATION in first.maps

    def fill(self, piece: memoryview, offset: int) -> memoryview:
        """Reads all of `piece` from `offset` on."""
        connection = self._borrow()
        try:
            for at in range(0, len(piece), _LONGEST_READ):
                connection.read(piece[at : at + _LONGEST_READ], offset + at)
        except BaseException as failure:
            # Where it stands in its replies is not known.
            self._drop(connection, failure)
            raise
        self._give_back(connection)
        return piece

    def next_data(self, start: int) -> tuple[int, int]:
        """As the server tells it; where it does not, all is data."""
        if self._mapped:
            try:
                return self._data.next_data(start)
            except Unanswered:
                self._mapped = False
        return start, self.size

    @property
    def files(self) -> Sequence[BlockFile]:
        """None that are here."""
        return ()

    def begin(self) -> None:
        """It is connected."""

    def below(self) -> Sequence[Below]:
        """Whatever its server knows of that, nobody here knows their bytes."""
        return ()

    def above(self, depth: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of what a chain's `depth` topmost files have, by QEMU's map of depths."""
        return NbdMap(self.size, partial(self._status, DEPTH), lambda flags: 1 <= flags <= depth).extents()

    def end(self) -> int:
        """Its size, as it was told."""
        return self.size

    def stamp(self) -> Stamp | None:
        """None."""
        return None

    def settle(self) -> None:
        """Nothing tells."""

    def changed_bytes(self) -> str:
        """Never asked for: nothing tells."""
        return f"{self.name} changed while it was read"

    def changed_size(self) -> str:
        """The sentence for one that did."""
        return f"{self.name} changed its size while it was read (it had {self.size} bytes)"

    def stop(self) -> None:
        """No read waits any longer, and none begins."""
        with self._turn:
            self._stopped.set()
            for connection in self._open:
                connection.shut()
            self._turn.notify_all()

    def close(self) -> None:
        """Closes all connections."""
        with self._turn:
            self._stopped.set()
            for connection in self._open:
                connection.close()
            self._open, self._idle = [], []
            self._turn.notify_all()

    def _status(self, which: str, offset: int, length: int) -> list[tuple[int, int]]:
        connection = self._borrow()
        try:
            told = connection.status(offset, length)
        except Unanswered:
            self._give_back(connection)
            raise
        except BaseException as failure:
            self._drop(connection, failure)
            raise
        self._give_back(connection)
        if which not in told:
            raise Unanswered(f"{self.name} does not tell its map {which}")
        return told[which]

    def _connect(self, seconds: float) -> Connection:
        try:
            connected = self._way(seconds)
        except OSError as failure:
            raise SourceRefused(f"cannot reach {self.name}: {failure.strerror or failure}") from failure
        return Connection(connected, self._export, self.name, self._maps)

    def _borrow(self) -> Connection:
        """An idle connection, or a further one; waits where there may be none."""
        with self._turn:
            while True:
                if self._stopped.is_set() or not (self._open or self._opening):
                    raise SourceRefused(self._why)
                if self._idle:
                    return self._idle.pop()
                if not self._opening and len(self._open) < self._most:
                    break
                self._turn.wait()
            self._opening = True
        further: Connection | None = None
        # A server that takes no further one refuses it, or lets it wait.
        with suppress(SourceRefused):
            further = self._connect(_FURTHER_SECONDS)
        with self._turn:
            self._opening = False
            if further is None or further.size != self.size:
                self._most = len(self._open)
            elif self._stopped.is_set():
                further.close()
            else:
                self._open.append(further)
                self._turn.notify_all()
                return further
            self._turn.notify_all()
        if further is not None:
            further.close()
        return self._borrow()

    def _give_back(self, connection: Connection) -> None:
        with self._turn:
            self._idle.append(connection)
            self._turn.notify()

    def _drop(self, connection: Connection, failure: BaseException) -> None:
        with self._turn:
            self._why = str(failure)
            if connection in self._open:
                self._open.remove(connection)
                connection.close()
            self._most = min(self._most, max(1, len(self._open)))
            self._turn.notify_all()


def _connect(place: NbdPlace, seconds: float) -> socket.socket:
    if place.path is None:
        return socket.create_connection((place.host, place.port), timeout=seconds)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(seconds)
        connection.connect(place.path)
    except BaseException:
        connection.close()
        raise
    return connection
