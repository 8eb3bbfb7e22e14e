"""kill -9 in an upload: nothing acknowledged is lost, and what had arrived counts when it is tried again."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from bench.images import MIB, compressible_image
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

GENERATION = 256 * MIB
SLAB_BUDGET = 96 * MIB
WITHIN = 5.0  # seconds from the restart's start until the image is queued
_LONG, _SHORT = 2048 * MIB, 256 * MIB
_SLOWLY = 6.0  # seconds that the upload would take at its limited rate until it is killed, several generations


@check("main-job", "kill", "kill -9 in an upload: queued within 5 s of the restart, and little is written twice.")
def kill(room: Room) -> Generator[Figure, None, None]:
    size = _SHORT if room.short else _LONG
    image, finished = room.work / "image", room.work / "finished"
    compressible_image(image, size, seed=1)
    compressible_image(finished, 64 * MIB, seed=2)
    one_run = _one_run(room.work / "once", image)
    data = room.work / "data"
    with Server(data) as server:
        kept = client.upload(server.url, finished)
        before = pack_bytes(data)
        queued = client.create(server.url, "killed")
        half = size // 2
        upload = subprocess.Popen(
            [*client.put_command(server.url, queued, image), "--limit-rate", str(int(half / _SLOWLY))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(_SLOWLY)
        journals = sum(path.stat().st_size for path in (data / "journals").rglob("*") if path.is_file())
        server.kill()
        upload.wait()
        first_run = pack_bytes(data) - before
        yield holds("a generation had closed when it was killed", journals > 0, (f"{journals} bytes of journal",))

        started = time.monotonic()
        server.start()
        client.wait_for(server.url, queued, "queued", 60)
        detail = ("from the start of the new process",)
        yield at_most("the image is queued again", time.monotonic() - started, WITHIN, "s", detail)
        yield holds("a finished image reads right", _reads_right(server, kept, finished, room.work))

        again = pack_bytes(data)
        client.run(client.put_command(server.url, queued, image))
        second_run = pack_bytes(data) - again
        yield holds("the same upload works, and reads right", _reads_right(server, queued, image, room.work))
    yield told("entry bytes of one run", f"{one_run / 1e6:.0f} MB")
    detail = (f"{first_run / 1e6:.0f} MB until the kill, {second_run / 1e6:.0f} MB after the restart",)
    bound = (one_run + GENERATION + SLAB_BUDGET) / 1e6
    yield at_most("entry bytes written over both runs", (first_run + second_run) / 1e6, bound, "MB", detail)


def pack_bytes(data: Path) -> int:
    """Bytes of all pack files, open and sealed."""
    return sum(path.stat().st_size for path in (data / "packs").rglob("*") if path.is_file())


def _one_run(data: Path, image: Path) -> int:
    """Pack bytes of the same upload when nobody disturbs it."""
    with Server(data) as server:
        before = pack_bytes(data)
        client.upload(server.url, image)
        return pack_bytes(data) - before


def _reads_right(server: Server, image: str, original: Path, work: Path) -> bool:
    back = work / "back"
    client.download(server.url, image, back)
    right = client.same(original, back)
    back.unlink()
    return right
