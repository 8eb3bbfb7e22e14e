"""Four workers on one port through a thousand mixed requests: each answer as it should be, and each worker answers."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.request import urlopen

import zstandard

from bench.images import MIB
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

WORKERS = 4
REQUESTS = 1000
CLIENTS = 8
LEAST = 0.05  # of the requests that each worker must have answered; a quarter is what the kernel aims at
_MOST_IMAGES = 5  # that a client keeps at a time
_BY_WORKER = re.compile(r'^drystone_worker_requests_total\{worker="(\d+)"\} (\S+)$', re.MULTILINE)


@check("bound", "workers", "Four workers through a thousand mixed requests: no error, every byte right, all answer.")
def workers(room: Room) -> Generator[Figure, None, None]:
    with Server(room.work / "data", settings={"workers": WORKERS}) as server:
        _all_serve(server)
        before = _by_worker(server)
        processes = sorted(tree(server.pid))
        asked = Asked(server.port, REQUESTS)
        started = time.perf_counter()
        clients = [Client(asked, number) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            for one in [pool.submit(each.run) for each in clients]:
                one.result()
        seconds = time.perf_counter() - started
        after = _by_worker(server)
        left = {name for each in clients for name in each.kept}
        listed = _listed(server)
        same = sorted(tree(server.pid)) == processes
        log = server.log.read_text(errors="replace")
    mixed = ", ".join(f"{count} {what}" for what, count in asked.done.most_common())
    rate = f"{asked.count / seconds:.0f} a second, {asked.moved / 1e6:.0f} MB of image data"
    yield told(f"requests by {CLIENTS} clients at once", f"{asked.count} requests", (mixed, rate))
    yield at_most("answers that are not as they should be", asked.wrong.total(), 0, "answers", _most(asked.wrong))
    share = {worker: after[worker] - before.get(worker, 0) for worker in after}
    detail = (", ".join(f"worker {worker}: {count:.0f}" for worker, count in sorted(share.items())),)
    fewest = min(share.values(), default=0) if len(share) == WORKERS else 0
    yield at_least("requests answered by the worker with the fewest", fewest, LEAST * REQUESTS, "requests", detail)
    yield holds("at the end the list has what was not deleted, and only that", left == listed, _unlike(left, listed))
    yield holds("no worker ended meanwhile", same, (f"processes {', '.join(map(str, processes))}",))
    _, error, rest = log.partition(" ERROR ")
    yield holds("their logs have no error", not error, tuple(rest.splitlines()[:40]))


@dataclass(slots=True)
class Asked:
    """What all clients share: so many requests are asked in all; what came out."""

    port: int
    most: int
    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    moved: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        """How many were asked so far."""
        return self.done.total()

    def admit(self, what: str) -> bool:
        """One more, unless there were enough."""
        with self._lock:
            if self.count >= self.most:
                return False
            self.done[what] += 1
            return True

    def ended(self, fault: str, moved: int) -> None:
        """One was answered; `fault` is empty when it is as it should be."""
        with self._lock:
            self.moved += moved
            if fault:
                self.wrong[fault] += 1


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Enough(Exception):
    """As many requests as were wanted have been asked."""


class Client:
    """Makes images, looks at them and deletes them; no other client touches those, so it knows each answer."""

    def __init__(self, asked: Asked, number: int) -> None:
        self._asked = asked
        self._dice = random.Random(number)
        self._names = (f"client-{number}-{count}" for count in itertools.count())
        self.kept: dict[str, bytes | None] = {}
        """Its images' ids, and the bytes of those that have some."""

    def run(self) -> None:
        """Until all clients together have asked enough."""
        with contextlib.suppress(Enough):
            while True:
                self._dice.choice(list(self._choices()))()

    def _choices(self) -> Iterator[Callable[[], None]]:
        queued = [image for image, data in self.kept.items() if data is None]
        active = [image for image, data in self.kept.items() if data is not None]
        yield self._list
        yield self._unknown
        if len(self.kept) < _MOST_IMAGES:
            yield from (self._create, self._create)
        if queued:
            yield from (partial(self._upload, queued[0]),) * 3
            yield partial(self._empty, queued[0])
        if active:
            image = self._dice.choice(active)
            for asked in (self._show, self._plain, self._range, self._zstd, self._again, self._delete):
                yield partial(asked, image)

    def _create(self) -> None:
        name = next(self._names)
        record = {"name": name, "disk_format": "raw", "container_format": "bare"}
        answer = self._ask("create", "POST", "/v2/images", 201, json.dumps(record).encode())
        if answer is not None:
            self.kept[json.loads(answer.body)["id"]] = None

    def _list(self) -> None:
        self._ask("list", "GET", "/v2/images?limit=20", 200, right=lambda answer: "images" in json.loads(answer.body))

    def _unknown(self) -> None:
        self._ask("show of an unknown image", "GET", f"/v2/images/{self._unknown_id()}", 404)

    def _show(self, image: str) -> None:
        size = len(self.kept[image] or b"")

        def right(answer: Answer) -> bool:
            record = json.loads(answer.body)
            return bool(record["status"] == "active" and record["size"] == size)

        self._ask("show", "GET", f"/v2/images/{image}", 200, right=right)

    def _upload(self, image: str) -> None:
        small = self._dice.random() < 0.7
        size = self._dice.randrange(1, 200_000) if small else self._dice.randrange(MIB, 6 * MIB)
        # Shared beginnings, so that several workers store and find the same blocks at once.
        data = (random.Random(size % 3).randbytes(size // 2) + bytes(size // 4) + self._dice.randbytes(size))[:size]
        if self._ask("upload", "PUT", f"/v2/images/{image}/file", 204, data) is not None:
            self.kept[image] = data

    def _again(self, image: str) -> None:
        self._ask("upload over data", "PUT", f"/v2/images/{image}/file", 409, b"other bytes")

    def _empty(self, image: str) -> None:
        self._ask("download without data", "GET", f"/v2/images/{image}/file", 204)

    def _plain(self, image: str) -> None:
        data = self.kept[image]
        self._ask("download", "GET", f"/v2/images/{image}/file", 200, right=lambda answer: answer.body == data)

    def _range(self, image: str) -> None:
        data = self.kept[image] or b""
        first = self._dice.randrange(len(data))
        last = self._dice.randrange(first, len(data))
        part = data[first : last + 1]
        asked = {"Range": f"bytes={first}-{last}"}
        path = f"/v2/images/{image}/file"
        self._ask("download of a range", "GET", path, 206, headers=asked, right=lambda answer: answer.body == part)

    def _zstd(self, image: str) -> None:
        data = self.kept[image]

        def right(answer: Answer) -> bool:
            opened = zstandard.ZstdDecompressor().stream_reader(answer.body, read_across_frames=True)
            return answer.headers.get("content-type") == "application/zstd" and opened.read() == data

        asked = {"Accept": "application/zstd"}
        self._ask("download as stored", "GET", f"/v2/images/{image}/file", 200, headers=asked, right=right)

    def _delete(self, image: str) -> None:
        if self._ask("delete", "DELETE", f"/v2/images/{image}", 204) is not None:
            del self.kept[image]
            self._ask("show of a deleted image", "GET", f"/v2/images/{image}", 404)

    def _unknown_id(self) -> str:
        digits = self._dice.randbytes(16).hex()
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"

    def _ask(
        self,
        what: str,
        method: str,
        path: str,
        wanted: int,
        body: bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        right: Callable[[Answer], bool] = lambda _: True,
    ) -> Answer | None:
        """One request on a connection of its own, so that the kernel deals it to any worker; None if it went wrong."""
        if not self._asked.admit(what):
            raise Enough
        kind = "application/json" if method == "POST" else "application/octet-stream"
        try:
            answer = _send(self._asked.port, method, path, body, {"Content-Type": kind, **(headers or {})})
        except (OSError, http.client.HTTPException) as error:
            self._asked.ended(f"{what}: {type(error).__name__}: {error}", 0)
            return None
        fault = ""
        if answer.status != wanted:
            fault = f"{what}: {answer.status}, not {wanted}: {answer.body[:300].decode(errors='replace')}"
        elif not right(answer):
            fault = f"{what}: {answer.status} with other bytes than it should have"
        self._asked.ended(fault, len(body or b"") + len(answer.body))
        return None if fault else answer


def _send(port: int, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def _all_serve(server: Server) -> None:
    """Waits for the line that tells that every worker is there: the first one answers before."""
    deadline = time.monotonic() + 30
    while "Drystone serves" not in server.log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all workers came up:\n{server.last_words()}")
        time.sleep(0.05)


def _by_worker(server: Server) -> dict[str, float]:
    """How many requests each worker has answered, as the service's own figures say."""
    with urlopen(f"{server.url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {worker: float(count) for worker, count in _BY_WORKER.findall(text)}


def _listed(server: Server) -> set[str]:
    answer = _send(server.port, "GET", "/v2/images?limit=1000", None, {})
    return {str(image["id"]) for image in json.loads(answer.body)["images"]}


def _most(wrong: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{count} times {fault}" for fault, count in wrong.most_common(10))


def _unlike(left: set[str], listed: set[str]) -> tuple[str, ...]:
    return (f"{len(left)} images", *(f"only in one of both: {image}" for image in sorted(left ^ listed)[:5]))
