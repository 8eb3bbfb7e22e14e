"""Nobody is kept waiting: an upload beside lists, lists beside uploads and downloads, and the server's own loop."""

from __future__ import annotations

import concurrent.futures
import contextlib
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from bench import lagging_server, sink
from bench.asking import Asking
from bench.harness import Ratio
from bench.images import MIB, compressible_image
from bench.parts import STREAMS, parts_for
from bench.show import client
from bench.show.bound.speed import asked
from bench.show.registry import Figure, Room, at_least, at_most, check, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from bench.parts import Parts

IMAGES = 1000
UPLOAD, LIST = 0.6, 0.4
ANSWER, TIMES_NOTHING, LAG = 0.050, 3.0, 0.025  # seconds, times a server that does nothing, seconds
_LONG, _SHORT = 512 * MIB, 96 * MIB
_LISTING = 3.0  # seconds of lists alone
_PAUSE = 0.02  # seconds between two answers, beside transfers: to ask is not to be the load
_ROUNDS = 3
_IN_SHORT = 0.5  # of a ratio is asked for: one round of a small upload
_SLOWER = 4  # times as slow a busy machine may be in the short form


@check("bound", "fairness-list", "An upload beside a client that loops over lists of 1,000: neither starves the other.")
def fairness_list(room: Room) -> Generator[Figure, None, None]:
    image = room.work / "image"
    with Server(room.work / "data") as server:
        yield told(f"making {IMAGES} images", f"{_make_images(server.url):.1f} s")
        turns = _Turns(server.url, image, _SHORT if room.short else _LONG)
        kinds: list[Callable[[], None]] = [turns.upload, turns.listing, turns.both]
        for number in range(1 if room.short else _ROUNDS):
            for turn in kinds[number % 3 :] + kinds[: number % 3]:
                turn()
    uploads = Ratio("upload", statistics.median(turns.upload_beside), statistics.median(turns.upload_alone), "alone")
    lists = Ratio(
        "list", statistics.median(turns.lists_beside), statistics.median(turns.lists_alone), "alone", "lists a minute"
    )
    bounds = (asked(room, UPLOAD, _IN_SHORT), asked(room, LIST, _IN_SHORT))
    yield at_least("upload beside lists, of its speed alone", uploads.value, bounds[0], "times", (str(uploads),))
    yield at_least("lists beside an upload, of their rate alone", lists.value, bounds[1], "times", (str(lists),))


@dataclass(slots=True)
class _Turns:
    """An upload of new bytes, a client that loops over the list, and both at once. MB/s, and lists a minute."""

    url: str
    image: Path
    size: int
    upload_alone: list[float] = field(default_factory=list)
    upload_beside: list[float] = field(default_factory=list)
    lists_alone: list[float] = field(default_factory=list)
    lists_beside: list[float] = field(default_factory=list)
    _seed: int = 0

    def upload(self) -> None:
        self.upload_alone.append(self._upload(contextlib.nullcontext()))

    def listing(self) -> None:
        with self._asking() as asking:
            time.sleep(_LISTING)
        self.lists_alone.append(asking.rate * 60)

    def both(self) -> None:
        asking = self._asking()
        self.upload_beside.append(self._upload(asking))
        self.lists_beside.append(asking.rate * 60)

    def _asking(self) -> Asking:
        return Asking(f"{self.url}/v2/images?limit={IMAGES}")

    def _upload(self, beside: contextlib.AbstractContextManager[object]) -> float:
        self._seed += 1
        compressible_image(self.image, self.size, self._seed)
        made = client.create(self.url, f"upload-{self._seed}")
        with beside:
            started = time.perf_counter()
            client.run(client.put_command(self.url, made, self.image))
            seconds = time.perf_counter() - started
        # The list is to have as many images in the next turn.
        client.delete(self.url, made)
        return self.size / 1e6 / seconds


@check("bound", "fairness-loop", "Beside four uploads and four downloads a list answers soon; the loop is never late.")
def fairness_loop(room: Room) -> Generator[Figure, None, None]:
    parts = parts_for(room)
    images = [room.work / f"image-{number}" for number in range(STREAMS)]
    for number, image in enumerate(images):
        compressible_image(image, _SHORT if room.short else _LONG, number)
    lags = room.work / "lags"
    command = [sys.executable, "-m", "bench.lagging_server", str(lags)]
    with Server(room.work / "data", command=command) as server:
        seconds, started, ended = _beside_transfers(server.url, parts, images)
    nothing = _beside_nothing(parts, images, max(2.0, (ended - started) / 2))
    late = lagging_server.read(lags, started, ended)
    plain, median = statistics.median(nothing), statistics.median(seconds)
    detail = (
        f"{len(seconds)} answers in {ended - started:.1f} s, the slowest of a hundred {_p99(seconds) * 1e3:.0f} ms",
        f"aiohttp that does nothing, under the same eight clients: {plain * 1e3:.1f} ms, {_p99(nothing) * 1e3:.0f} ms",
    )
    slower = _SLOWER if room.short else 1
    bound = max(ANSWER * slower, TIMES_NOTHING * plain)
    yield at_most("GET /v2/images, the median", median * 1e3, bound * 1e3, "ms", detail)
    lines = (f"{len(late)} wake-ups, one every {lagging_server.EVERY * 1e3:.0f} ms", f"latest {late[-1] * 1e3:.0f} ms")
    yield at_most("the loop's lag, 99 of 100 within", _p99(late) * 1e3, LAG * slower * 1e3, "ms", lines)


def _beside_transfers(url: str, parts: Parts, images: Sequence[Path]) -> tuple[list[float], float, float]:
    """Seconds of each answer while four uploads and four downloads ran, and from when to when all of them did."""
    stored = [client.upload(url, part) for part in parts.parts]
    uploads = [client.put_command(url, client.create(url, image.name), image) for image in images]
    downloads = [client.get_command(url, image, "/dev/null") for image in stored]
    with Repeated(downloads), concurrent.futures.ThreadPoolExecutor(len(uploads)) as pool:
        started = time.monotonic()
        running = [pool.submit(client.run, command) for command in uploads]
        with Asking(f"{url}/v2/images", _PAUSE) as asking:
            concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            ended = time.monotonic()
        for one in running:
            one.result()
    return asking.seconds, started, ended


def _beside_nothing(parts: Parts, images: Sequence[Path], seconds: float) -> list[float]:
    """Seconds of each answer of a server that does nothing, under as many clients."""
    with sink.running() as (url, _):
        curl = ["curl", "--silent", "--show-error", "--fail", "-o", "/dev/null"]
        uploads = [[*curl, "-T", str(image), f"{url}/file"] for image in images]
        downloads = [[*curl, f"{url}/{part.stat().st_size}"] for part in parts.parts]
        with Repeated([*uploads, *downloads]), Asking(f"{url}/nothing", _PAUSE) as asking:
            time.sleep(seconds)
    return asking.seconds


class Repeated:
    """Runs each command in a loop of its own until the block ends; RuntimeError at its end if one failed."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=partial(self._loop, command)) for command in commands]
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            self._ended.set()
            for process in self._running:
                process.terminate()
        self.join()
        if self._failures and kind is None:
            raise RuntimeError("\n".join(self._failures))

    def join(self) -> None:
        """Waits until every loop has ended, which a loop does by itself only when its command fails."""
        for thread in self._threads:
            thread.join()

    def _loop(self, command: Sequence[str]) -> None:
        while process := self._begin(command):
            _, said = process.communicate()
            with self._lock:
                self._running.discard(process)
                if process.returncode and not self._ended.is_set():
                    self._failures.append(f"exit code {process.returncode}: {' '.join(command)}\n{said.decode()}")
                    return

    def _begin(self, command: Sequence[str]) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._ended.is_set():
                return None
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self._running.add(process)
            return process


def _make_images(url: str) -> float:
    """A thousand images without bytes, such as clouds have; the seconds that took."""
    started = time.perf_counter()
    for number in range(IMAGES):
        record = {"name": f"image {number}", "disk_format": "raw", "container_format": "bare", "min_disk": 10}
        record |= {"os_distro": "debian", "os_version": str(number), "hw_disk_bus": "virtio", "tags": ["a", "golden"]}
        client.call(f"{url}/v2/images", "POST", record)
    return time.perf_counter() - started


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]
