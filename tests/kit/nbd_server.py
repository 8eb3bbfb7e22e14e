"""An NBD server in a thread, for one export of bytes; counts what is read."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class NbdServer:
    """Serves `data` as export `disk` on a socket at `path` until left. `read` are the bytes that were asked for.

    It takes `shared` connections at a time and lets others wait unanswered, as qemu-nbd does. With `silent` set,
    reads are not answered.
    """

    def __init__(self, path: Path, data: bytearray, *, error: int = 0, shared: int = 100) -> None:
        self.path = path
        self.data = data
        self.error = error
        self.read = 0
        self.silent = threading.Event()
        self._shared = threading.Semaphore(shared)
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        return f"nbd+unix:///disk?socket={self.path}"

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(EOFError, OSError), self._shared:
            connection.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
            _exactly(connection, 4)
            while True:
                _, option, length = struct.unpack(">8sII", _exactly(connection, 16))
                asked = _exactly(connection, length)
                if option == 7:
                    break
                _reply(connection, option, 0x80000001, b"")
            name = asked[4 : 4 + int.from_bytes(asked[:4], "big")]
            if name != b"disk":
                _reply(connection, option, 0x80000006, b"no such export")
                return
            # A server may tell more than it was asked for.
            _reply(connection, option, 3, struct.pack(">HIII", 3, 1, 4096, 1 << 25))
            _reply(connection, option, 3, struct.pack(">HQH", 0, len(self.data), 1))
            _reply(connection, option, 1, b"")
            while True:
                _, _, kind, cookie, offset, size = struct.unpack(">IHHQQI", _exactly(connection, 28))
                if kind != 0:
                    return
                with self._lock:
                    self.read += size
                if self.silent.is_set():
                    continue
                connection.sendall(struct.pack(">IIQ", 0x67446698, self.error, cookie))
                if not self.error:
                    connection.sendall(self.data[offset : offset + size])


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _reply(connection: socket.socket, option: int, kind: int, data: bytes) -> None:
    connection.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)
