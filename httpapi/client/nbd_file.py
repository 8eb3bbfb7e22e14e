"""An NBD export that is read by position, such as the disk of a running virtual machine.

Only what reading needs of the protocol: fixed newstyle negotiation with NBD_OPT_GO, NBD_CMD_READ and simple replies
(github.com/NetworkBlockDevice/nbd, doc/proto.md). Reads borrow connections; a further one is made when none is idle.
Where the server takes no further one (qemu-nbd without --shared serves one at a time), those that there are do.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from httpapi.client.errors import SourceRefused

if TYPE_CHECKING:
    from httpapi.client.block_file import Stamp

USUAL_PORT: Final = 10809
SECONDS: Final = 60.0
_FURTHER_SECONDS: Final = 2.0
_MOST_CONNECTIONS: Final = 8
_LONGEST_READ: Final = 4 << 20
_LONGEST_REPLY: Final = 1 << 16
_GREETING: Final = b"NBDMAGICIHAVEOPT"
_OPTION: Final = struct.Struct(">8sII")
_OPTION_REPLY: Final = struct.Struct(">QIII")
_REQUEST: Final = struct.Struct(">IHHQQI")
_REPLY: Final = struct.Struct(">IIQ")
_FLAGS: Final = 3
_OPT_GO: Final = 7
_REP_ACK: Final = 1
_REP_INFO: Final = 3
_INFO_EXPORT: Final = 0
_REPLY_MAGIC: Final = 0x3E889045565A9
_REQUEST_MAGIC: Final = 0x25609513
_SIMPLE_MAGIC: Final = 0x67446698
_READ: Final = 0
_DISCONNECT: Final = 2


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
    """As `BlockFile`: all of it is data, and nothing tells whether it has changed. SourceRefused for whatever fails."""

    def __init__(self, uri: str) -> None:
        self.name = uri
        self._place = parse_uri(uri)
        first = _Connection(self._place, self.name)
        self.size = first.size
        # Guards what follows; told when a connection is idle again, or none ever will be.
        self._turn = threading.Condition()
        self._open, self._idle = [first], [first]
        self._opening = False
        self._stopped = threading.Event()
        self._why = f"{uri} is not read any more"
        self._most = _MOST_CONNECTIONS

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
        """What is zeros is found by reading."""
        return start, self.size

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

    def _borrow(self) -> _Connection:
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
        further: _Connection | None = None
        # A server that takes no further one refuses it, or lets it wait.
        with suppress(SourceRefused):
            further = _Connection(self._place, self.name, seconds=_FURTHER_SECONDS)
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

    def _give_back(self, connection: _Connection) -> None:
        with self._turn:
            self._idle.append(connection)
            self._turn.notify()

    def _drop(self, connection: _Connection, failure: BaseException) -> None:
        with self._turn:
            self._why = str(failure)
            if connection in self._open:
                self._open.remove(connection)
                connection.close()
            self._most = min(self._most, max(1, len(self._open)))
            self._turn.notify_all()


class _Connection:
    """One negotiated connection."""

    def __init__(self, place: NbdPlace, name: str, *, seconds: float = SECONDS) -> None:
        self._name = name
        self._cookie = 0
        try:
            self._socket = _connect(place, seconds)
        except OSError as failure:
            raise SourceRefused(f"cannot reach {name}: {failure.strerror or failure}") from failure
        try:
            self.size = self._negotiate(place.name.encode())
            self._socket.settimeout(SECONDS)
        except BaseException:
            self._socket.close()
            raise

    def read(self, piece: memoryview, offset: int) -> None:
        self._cookie += 1
        self._send(_REQUEST.pack(_REQUEST_MAGIC, 0, _READ, self._cookie, offset, len(piece)))
        magic, error, cookie = _REPLY.unpack(self._receive(_REPLY.size))
        if magic != _SIMPLE_MAGIC or cookie != self._cookie:
            raise SourceRefused(f"{self._name} answers, but not as NBD has it")
        if error:
            raise SourceRefused(f"cannot read {self._name} at byte {offset}: its error {error}")
        self._receive_into(piece)

    def shut(self) -> None:
        # Whoever waits in a read of it meets its end.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # It may be gone already.
        with suppress(OSError):
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))
        self._socket.close()

    def _negotiate(self, export: bytes) -> int:
        """The export's size in bytes."""
        if self._receive(len(_GREETING)) != _GREETING:
            raise SourceRefused(f"{self._name} answers, but not as an NBD server of today")
        self._receive(2)
        asked = struct.pack(">I", len(export)) + export + struct.pack(">H", 0)
        self._send(struct.pack(">I", _FLAGS) + _OPTION.pack(b"IHAVEOPT", _OPT_GO, len(asked)) + asked)
        size: int | None = None
        while True:
            magic, option, kind, length = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
            if magic != _REPLY_MAGIC or option != _OPT_GO or length > _LONGEST_REPLY:
                raise SourceRefused(f"{self._name} answers, but not as NBD has it")
            data = self._receive(length)
            if kind == _REP_ACK and size is not None:
                return size
            if kind == _REP_INFO and length >= 12 and data[:2] == struct.pack(">H", _INFO_EXPORT):
                size = int.from_bytes(data[2:10], "big")
            elif kind != _REP_INFO:
                told = data.decode(errors="replace")[:200] or f"its error {kind & 0xFFFF}"
                raise SourceRefused(f"{self._name} is not to be had: {told}")

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as failure:
            raise self._broken(failure) from failure

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, piece: memoryview) -> None:
        while piece:
            try:
                count = self._socket.recv_into(piece)
            except OSError as failure:
                raise self._broken(failure) from failure
            if not count:
                raise SourceRefused(f"{self._name} has closed the connection")
            piece = piece[count:]

    def _broken(self, failure: OSError) -> SourceRefused:
        return SourceRefused(f"cannot read {self._name}: {failure.strerror or failure}")


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
