"""Connections that are opened and left half-sent are freed in time, and cost nothing afterwards."""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.images import MIB
from bench.show import client
from bench.show.registry import MB, Figure, Room, at_most, check, holds, told
from bench.show.server import Server, own_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

CONNECTIONS = 200
TIMEOUT, TIMEOUT_IN_SHORT = 5, 3
# A refused body is read on for up to three seconds, so that its sender sees the answer (httpapi/README.md).
LINGERING = 3.0
_SLACK = 2.0  # they all end at once, and each upload that is given up is a transaction
MORE = 0.10  # of memory and descriptors that may be in use afterwards
_ANNOUNCED, _SENT = 8 * MIB, 100_000
_SETTLED = 3.0
_READY_FOR_MORE = 20.0
_TAKEN_UP = 1.0


@dataclass(frozen=True, slots=True)
class InUse:
    """What a server holds: bytes of its own memory, and descriptors."""

    memory: int
    descriptors: int

    def __str__(self) -> str:
        return f"{self.memory / MB:.1f} MB, {self.descriptors} descriptors"


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds until each connection was closed by the server, by its kind, and what was held meanwhile."""

    closed: dict[str, list[float]]
    kept: int
    during: InUse


@check("bound", "half-sent", "200 connections left half-sent are freed in time; memory and descriptors come back.")
def half_sent(room: Room) -> Generator[Figure, None, None]:
    timeout = TIMEOUT_IN_SHORT if room.short else TIMEOUT
    settings = {"header_timeout": timeout, "body_timeout": timeout}
    with Server(room.work / "data", settings=settings) as server:
        queued = [client.create(server.url, f"half-{number}") for number in range(CONNECTIONS // 3 + 1)]
        _usual_work(server, room.work)
        _round(server, queued, timeout)  # the first such round leaves what the next one uses again
        before = _settled(server)
        done = _round(server, queued, timeout)
        after = _settled(server)
        states = [client.status(server.url, image) for image in queued]
        image = client.upload(server.url, room.work / "image")
        client.download(server.url, image, room.work / "back")
        works = client.same(room.work / "image", room.work / "back")
    yield told("held by the server before", str(before), ("after one such round, so that nothing is a first time",))
    yield told(f"while {CONNECTIONS} connections are half-sent", str(done.during))
    yield at_most("connections that the server never closed", done.kept, 0, f"of {CONNECTIONS}")
    for kind, seconds in done.closed.items():
        drained = LINGERING if kind == "half a body" else 0.0
        bound = timeout + drained + _SLACK
        more = f", {drained:g} s more are for the sender to see the answer" if drained else ""
        detail = (
            f"{len(seconds)} connections, the first after {min(seconds, default=0):.2f} s",
            f"{timeout} s are configured{more}",
        )
        yield at_most(f"the last is closed: {kind}", max(seconds, default=0), bound, "s", detail)
    kept = after.memory / before.memory
    yield at_most("RssAnon + RssShmem afterwards, of before", kept, 1 + MORE, "times", (f"{before}; then {after}",))
    open_still = after.descriptors / before.descriptors
    yield at_most("descriptors afterwards, of before", open_still, 1 + MORE, "times", (f"{before}; then {after}",))
    told_states = (f"{states.count('queued')} of {len(states)} images whose body was half-sent",)
    yield holds("their images are queued again", set(states) == {"queued"}, told_states)
    yield holds("an upload and a download work as ever", works)


def _usual_work(server: Server, work: Path) -> None:
    image, back = work / "image", work / "back"
    image.write_bytes(os.urandom(2 * MIB + 77))
    for _ in range(3):
        client.download(server.url, client.upload(server.url, image), back)
        client.call(f"{server.url}/v2/images")


def _round(server: Server, queued: Sequence[str], timeout: int) -> Round:
    """Opens all connections, waits until the server has closed them; RuntimeError if it does not see them."""
    bodies = iter(queued)
    beginnings: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"",
        "half a header": lambda: b"POST /v2/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Ty",
        "half a body": lambda: _half_a_body(next(bodies)),
    }
    began: dict[socket.socket, tuple[str, float]] = {}
    for _, kind in zip(range(CONNECTIONS), itertools.cycle(beginnings)):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        connection.sendall(beginnings[kind]())
        began[connection] = kind, time.monotonic()
    # The last bodies' connections are taken up while the first one's image is already asked for.
    soon = time.monotonic() + _TAKEN_UP
    while (saving := client.status(server.url, queued[0])) != "saving" and time.monotonic() < soon:
        time.sleep(0.02)
    during = InUse(own_memory(server.pid), _descriptors(server.pid))
    if during.descriptors < CONNECTIONS or saving != "saving":
        raise RuntimeError(f"the server holds {during}, and an image whose body is half-sent is {saving}")
    try:
        closed = _closed(began, timeout + LINGERING + _READY_FOR_MORE)
    finally:
        for connection in began:
            connection.close()
    return Round(closed, CONNECTIONS - sum(map(len, closed.values())), during)


def _half_a_body(image: str) -> bytes:
    head = f"PUT /v2/images/{image}/file HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {_ANNOUNCED}\r\n"
    return head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + os.urandom(_SENT)


def _closed(began: dict[socket.socket, tuple[str, float]], patience: float) -> dict[str, list[float]]:
    """Seconds from the last byte sent until the server's end is closed, by kind; those that stay open are missing."""
    seconds: dict[str, list[float]] = {kind: [] for kind, _ in began.values()}
    deadline = time.monotonic() + patience
    with selectors.DefaultSelector() as waiting:
        for connection in began:
            waiting.register(connection, selectors.EVENT_READ)
        while waiting.get_map() and time.monotonic() < deadline:
            for connection in _ended(waiting):
                kind, since = began[connection]
                seconds[kind].append(time.monotonic() - since)
                waiting.unregister(connection)
    return seconds


def _ended(waiting: selectors.BaseSelector) -> Iterable[socket.socket]:
    """The connections that have ended; what the server says before is read and dropped."""
    for key, _ in waiting.select(timeout=1):
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        try:
            if not connection.recv(65536):
                yield connection
        except ConnectionResetError:
            yield connection


def _settled(server: Server) -> InUse:
    """What it holds some seconds after its last work, the median of a few looks."""
    time.sleep(_SETTLED)
    looks = []
    for _ in range(5):
        looks.append((own_memory(server.pid), _descriptors(server.pid)))
        time.sleep(0.1)
    memory, descriptors = zip(*looks, strict=True)
    return InUse(int(statistics.median(memory)), int(statistics.median(descriptors)))


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
