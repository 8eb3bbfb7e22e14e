"""A TCP proxy before a server, that counts what passes and can be slow or deaf, so that one sees the wire."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from bench.request_watch import RequestWatch


class CountingProxy:
    """Passes connections on to `target`, a port of loopback. `up` are bytes from clients, `down` bytes to them.

    `rate` bytes a second are let through from clients, and to clients, None for all. `target` may change: what is
    connected later goes to the new one. `watch` is told what passes, by the number of the connection.
    """

    def __init__(self, target: int, *, rate: float | None = None, watch: RequestWatch | None = None) -> None:
        self.target = target
        self.rate = rate
        self.watch = watch
        self.up = self.down = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Breaks all connections."""
        with self._lock:
            for each in self._open:
                _end(each)

    def taken(self) -> tuple[int, int]:
        """(up, down) since the last call."""
        with self._lock:
            counted = self.up, self.down
            self.up = self.down = 0
        return counted

    def wait_for(self, *, up: int = 0, down: int = 0, seconds: float = 30) -> None:
        """Until so many bytes have passed."""
        end = time.monotonic() + seconds
        while self.up < up or self.down < down:
            assert time.monotonic() < end, f"only {self.up} and {self.down} bytes have passed"
            time.sleep(0.005)

    def _accept(self) -> None:
        for number in itertools.count():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=20)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for ends in ((client, server), (server, client)):
                passing = partial(self._pass, number, *ends, is_up=ends[0] is client)
                threading.Thread(target=passing, daemon=True).start()

    def _pass(self, number: int, source: socket.socket, sink: socket.socket, *, is_up: bool) -> None:
        try:
            while data := source.recv(65536):
                with self._lock:
                    if is_up:
                        self.up += len(data)
                    else:
                        self.down += len(data)
                if self.rate is not None:
                    time.sleep(len(data) / self.rate)
                if self.watch is None:
                    sink.sendall(data)
                elif is_up:
                    self.watch.asked(number, data)
                    sink.sendall(data)
                    self.watch.look()
                else:
                    self.watch.answered(number, data)
                    sink.sendall(data)
        except OSError:
            pass
        _end(source)
        _end(sink)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
