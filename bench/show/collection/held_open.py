"""A collection beside an upload of a byte a minute and a delta upload that was left open: neither holds it back."""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Final, Self

from bench.images import MIB, compressible_image
from bench.show import client
from bench.show.collection.space import collect, files_taken
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server
from blockstore import frames
from blockstore.digest import digest
from blockstore.packs.pack_format import make_entry
from httpapi.wire.block_stream import MEDIA_TYPE, block_head

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

LATER, LATER_IN_SHORT = 5.0, 30.0  # seconds that a collection may take longer than with nothing open
FREED: Final = 0.95  # of what a deleted image took
_A_BYTE_EVERY: Final = 60.0
_LONG, _SHORT = (64 * MIB, 3), (8 * MIB, 1)  # bytes of an image, rounds
_BLOCK: Final = 65536
_STORED_WITHIN: Final = 4.0
_SENT_AT_ONCE: Final = 5 * MIB + 12345


@check(
    "collection", "held-open", "An upload of a byte a minute and an open delta session don't hold a collection back."
)
def held_open(room: Room) -> Generator[Figure, None, None]:
    size, rounds = _SHORT if room.short else _LONG
    with Server(room.work / "data", settings={"body_timeout": 2 * _A_BYTE_EVERY}) as server:
        garbage = _Garbage(room.work, server, size)
        alone = [garbage.collect() for _ in range(rounds)]
        image, slow_image, session_image = (room.work / name for name in ("base", "slow", "session"))
        for seed, file in enumerate((image, slow_image, session_image), 1001):
            compressible_image(file, size, seed)
        session = _Session(server.url, client.upload(server.url, image), session_image)
        session.begin()
        with _Slow(server, slow_image) as slow:
            # What has come of both is stored by now, so that packs only change by what is deleted.
            time.sleep(_STORED_WITHIN)
            started = time.monotonic()
            beside = [garbage.collect()]
            while not room.short and time.monotonic() - started < 1.2 * _A_BYTE_EVERY:
                beside.append(garbage.collect())
            sent = slow.sent
            slow.finish()
        session.finish()
        back = room.work / "back"
        same = [
            _reads(server.url, made, file, back)
            for made, file in ((slow.image, slow_image), (session.image, session_image))
        ]
    freed = min(garbage.freed)
    yield told("a collection with nothing open", f"{statistics.median(alone):.2f} s", (_seconds(alone),))
    detail = (_seconds(beside), f"{sent} bytes of {size} had come by then")
    bound = statistics.median(alone) + (LATER_IN_SHORT if room.short else LATER)
    yield at_most("beside both, the longest", max(beside), bound, "s", detail)
    yield at_least(
        "freed of a deleted image, at least", freed * 100, FREED * 100, "%", (f"{len(garbage.freed)} times",)
    )
    yield holds("then both come to their end, byte for byte", all(same))


class _Garbage:
    """Images that are uploaded, deleted and collected."""

    def __init__(self, work: Path, server: Server, size: int) -> None:
        self._file, self._server, self._size = work / "garbage", server, size
        self._seed = 0
        self.freed: list[float] = []  # the share of what an image took

    def collect(self) -> float:
        """The seconds of a collection that has one deleted image to free."""
        self._seed += 1
        compressible_image(self._file, self._size, self._seed)
        packs = self._server.data / "packs"
        before = files_taken(packs)
        # By a server of its own: when that ends, its pack is sealed, and only sealed packs are dropped.
        with Server(self._server.data) as other:
            image = client.upload(other.url, self._file)
        full = files_taken(packs)
        client.delete(self._server.url, image)
        started = time.monotonic()
        collect(self._server.data, "--all", beside=True)
        seconds = time.monotonic() - started
        self.freed.append((full - files_taken(packs)) / (full - before))
        return seconds


class _Slow:
    """A PUT that has sent a good part of its body, and from then on a byte a minute."""

    def __init__(self, server: Server, file: Path) -> None:
        self._data = file.read_bytes()
        self.image = client.create(server.url, "slow")
        self.sent = 0
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._dribble)

    def __enter__(self) -> Self:
        head = (
            f"PUT /v2/images/{self.image}/file HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(self._data)}\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        self._send(_SENT_AT_ONCE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def finish(self) -> None:
        """All the rest at once; RuntimeError unless the image is there."""
        self._ended.set()
        self._thread.join()
        self._send(len(self._data))
        answer = self._socket.recv(4096).decode(errors="replace")
        if " 204 " not in answer.partition("\r\n")[0]:
            raise RuntimeError(f"the slow upload was refused: {answer}")

    def _dribble(self) -> None:
        while not self._ended.wait(_A_BYTE_EVERY):
            self._send(1)

    def _send(self, count: int) -> None:
        self._socket.sendall(self._data[self.sent : self.sent + count])
        self.sent = min(self.sent + count, len(self._data))


class _Session:
    """A delta upload over a base that is deleted meanwhile: half of the blocks are sent, and the rest much later."""

    def __init__(self, url: str, base: str, file: Path) -> None:
        self._url, self._base, self._file = url, base, file
        self.image = client.create(url, "session")
        self._upload = ""

    def begin(self) -> None:
        wanted = {"size": self._file.stat().st_size, "base": self._base}
        self._upload = str(client.call(f"{self._url}/v2/images/{self.image}/deltas", "POST", wanted)["id"])
        self._send(0, self._file.stat().st_size // _BLOCK // 2)
        client.delete(self._url, self._base)

    def finish(self) -> None:
        self._send(self._file.stat().st_size // _BLOCK // 2, self._file.stat().st_size // _BLOCK)
        client.call(f"{self._path}/commit", "POST", {})

    @property
    def _path(self) -> str:
        return f"{self._url}/v2/images/{self.image}/deltas/{self._upload}"

    def _send(self, first: int, stop: int) -> None:
        body = bytearray()
        with self._file.open("rb") as file:
            file.seek(first * _BLOCK)
            for number in range(first, stop):
                block = file.read(_BLOCK)
                entry = make_entry(digest(block), len(block), frames.compress(block))
                body += block_head(number, len(entry.header) + len(entry.data)) + entry.header + entry.data
        asked = urllib.request.Request(f"{self._path}/blocks", bytes(body), {"Content-Type": MEDIA_TYPE}, method="PUT")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            answer.read()


def _reads(url: str, image: str, file: Path, back: Path) -> bool:
    client.download(url, image, back)
    return client.same(file, back)


def _seconds(times: list[float]) -> str:
    return json.dumps([round(each, 2) for each in times])
