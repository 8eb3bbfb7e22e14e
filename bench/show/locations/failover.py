"""An image in several stores: read from the heaviest, and on elsewhere, at the very byte, when that one is killed."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from bench import volume
from bench.counting_proxy import CountingProxy
from bench.images import MIB, compressible_image
from bench.kept_places import PIECE, SECRETS, places, stores_file
from bench.places import drystone
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds
from bench.show.server import Server, environment
from tests.kit.real_swift import PYTHON as SWIFT

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from bench.kept_places import KeptPlace

BACK_WITHIN: Final = 20.0
"""Seconds: a store that failed is asked again after ten at the latest."""
_LONG, _SHORT = 1024 * MIB, 96 * MIB
_LATE: Final = 1.5  # seconds until a place has told of what was read
_SECONDS: Final = 6.0  # that a download takes: so fast is the way to the client


@check(
    "locations",
    "failover",
    "A store is killed in mid-download: every byte right, nobody notices; its order comes back.",
)
def failover(room: Room) -> Generator[Figure, None, None]:
    if why := volume.missing():
        yield holds("a volume can be made here", False, (why,))
        return
    with_swift = SWIFT.exists()
    if not room.short:
        yield holds("Swift is there: make swift", with_swift)
    os.environ |= SECRETS
    image = room.work / "image"
    compressible_image(image, _SHORT if room.short else _LONG, seed=31)
    want = _hash(image)
    with places(room.work, image.stat().st_size, swift=with_swift) as kept:
        for number, place in enumerate(kept):
            file = stores_file(room.work / f"stores-{number}.toml", kept, place.name)
            settings = {"stores_file": file}
            with Server(room.work / "data", settings=settings) as server:
                if number == 0:
                    yield _imported(server, image, kept)
                [record] = client.call(f"{server.url}/v2/images")["images"]
                yield from _killed(server, str(record["id"]), place, want, room.work)


def _imported(server: Server, image: Path, kept: Sequence[KeptPlace]) -> Figure:
    wanted = [word for name in ("blocks", *(place.name for place in kept)) for word in ("--store", name)]
    began = time.monotonic()
    client.program(server.url, "import", str(image), "--name", "everywhere", *wanted)
    counted = ", ".join(f"{place.name} {place.copies()}" for place in kept)
    took = f"{image.stat().st_size >> 20} MiB in {time.monotonic() - began:.1f} s"
    return holds("imported into all of them", all(place.copies() for place in kept), (took, f"copies: {counted}"))


def _killed(server: Server, image: str, place: KeptPlace, want: str, work: Path) -> Generator[Figure, None, None]:
    yield holds(f"{place.name} is the heaviest: it is read from there", is_read_from(server, image, place))
    for name in ("curl", "drystone pull"):
        target = work / "back.raw"
        target.unlink(missing_ok=True)
        size = int(client.call(f"{server.url}/v2/images/{image}")["size"])
        with CountingProxy(server.port, rate=size / _SECONDS) as way:
            command = (
                client.get_command(way.url, image, target)
                if name == "curl"
                else [*drystone(), "--endpoint", way.url, "pull", image, str(target)]
            )
            at, done = _kill_in_the_middle(place, way, command, size)
        right = target.exists() and _hash(target) == want
        detail = (f"killed when {at >> 20} of {size >> 20} MiB had come; exit code {done.returncode}", *_said(done))
        yield holds(f"{place.name} killed in a download by {name}: every byte is right", right, detail)
        yield holds(f"{name} notices nothing", done.returncode == 0 and not done.stderr, _said(done))
        yield holds(f"{place.name} is down: it is read elsewhere", not is_read_from(server, image, place))
        place.back()
        yield at_most(
            f"{place.name} is back: seconds until it is read from again",
            _until_read_from(server, image, place),
            BACK_WITHIN,
            "s",
        )
    target.unlink(missing_ok=True)


def _kill_in_the_middle(
    place: KeptPlace, way: CountingProxy, command: Sequence[str], size: int
) -> tuple[int, subprocess.CompletedProcess[str]]:
    """How many bytes had come by then, and how the program ended."""
    ended: list[subprocess.CompletedProcess[str]] = []

    def transfer() -> None:
        ended.append(
            subprocess.run(command, env=environment({}), capture_output=True, text=True, check=False, timeout=240)
        )

    running = threading.Thread(target=transfer)
    running.start()
    way.wait_for(down=size * 2 // 5, seconds=120)
    at = way.down
    place.kill()
    running.join()
    return at, ended[0]


def is_read_from(server: Server, image: str, place: KeptPlace) -> bool:
    """Whether a download that has begun is being read from there."""
    before = place.taken(server)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", f"/v2/images/{image}/file")
        connection.getresponse().read(4 * PIECE)
        if place.taken(server) - before >= PIECE:
            return True
    # A log tells of a request when it is over.
    deadline = time.monotonic() + _LATE
    while time.monotonic() < deadline:
        if place.taken(server) - before >= PIECE:
            return True
        time.sleep(0.05)
    return False


def _until_read_from(server: Server, image: str, place: KeptPlace) -> float:
    began = time.monotonic()
    while not is_read_from(server, image, place):
        if time.monotonic() - began > 3 * BACK_WITHIN:
            break
        time.sleep(0.25)
    return time.monotonic() - began


def _said(done: subprocess.CompletedProcess[str]) -> tuple[str, ...]:
    return tuple(done.stderr.splitlines()[-3:])


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
