"""An NBD export that is read by position, such as the disk of a running virtual machine.

Only what reading needs of the protocol: fixed newstyle negotiation with NBD_OPT_GO, NBD_CMD_READ and simple replies
(github.com/NetworkBlockDevice/nbd, doc/proto.md). Each thread has a connection of its own.
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
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._open: list[_Connection] = []
        self.size = self._connection().size

    def fill(self, piece: memoryview, offset: int) -> memoryview:
        """Reads all of `piece` from `offset` on."""
        connection = self._connection()
        for at in range(0, len(piece), _LONGEST_READ):
            connection.read(piece[at : at + _LONGEST_READ], offset + at)
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

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            for connection in self._open:
                connection.close()

    def _connection(self) -> _Connection:
        found: _Connection | None = getattr(self._mine, "connection", None)
        if found is None:
            found = _Connection(self._place, self.name)
            self._mine.connection = found
            with self._lock:
                self._open.append(found)
        return found


class _Connection:
    """One negotiated connection."""

    def __init__(self, place: NbdPlace, name: str) -> None:
        self._name = name
        self._cookie = 0
        try:
            self._socket = _connect(place)
        except OSError as failure:
            raise SourceRefused(f"cannot reach {name}: {failure.strerror or failure}") from failure
        try:
            self.size = self._negotiate(place.name.encode())
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


def _connect(place: NbdPlace) -> socket.socket:
    if place.path is None:
        return socket.create_connection((place.host, place.port), timeout=SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(SECONDS)
        connection.connect(place.path)
    except BaseException:
        connection.close()
        raise
    return connection
