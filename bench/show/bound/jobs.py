"""Jobs: kill -9 of a worker in the middle of one, and one that can never succeed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

from bench.images import MIB, compressible_image
from bench.places import ROOT, drystone
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

AGAIN_WITHIN = 30.0
_LONG, _SHORT = 1024 * MIB, 384 * MIB
_INTO_IT = 0.4  # seconds from the job's beginning to the kill
_BEGINS = r"job {} \(hash\) begins, try (\d+)"
_DONE = r"job {} \(hash\) is done"
_TRIES = 5
_GIVEN_UP_WITHIN = 150.0  # the pauses between five tries are 85 s
_TRIES_IN_SHORT = 2


class Worker:
    """`drystone worker` on a data directory, in a process of its own."""

    def __init__(self, data: Path, name: str, settings: Mapping[str, object] | None = None) -> None:
        self.name = name
        self._log = data.parent / f"{name}.log"
        with self._log.open("wb") as log:
            command = [*drystone(), "worker", "--data", str(data)]
            variables = environment({f"DRYSTONE_{key.upper()}": str(value) for key, value in (settings or {}).items()})
            self._process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        _until(lambda: "works on the jobs of" in self.log(), 30, f"{self.name} takes no jobs")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def tries(self, job: str) -> list[str]:
        """Which tries of the job this worker has begun."""
        return re.findall(_BEGINS.format(job), self.log())

    def done(self, job: str) -> int:
        """How often it told that the job is done."""
        return len(re.findall(_DONE.format(job), self.log()))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@check(
    "bound", "jobs", "kill -9 of a worker in a job: it runs again within 30 s, once. A poisoned job fails and says why."
)
def jobs(room: Room) -> Generator[Figure, None, None]:
    data, image, small = room.work / "data", room.work / "image", room.work / "small"
    compressible_image(image, _SHORT if room.short else _LONG, seed=21)
    compressible_image(small, 8 * MIB, seed=22)
    with Server(data, settings={"hashes": "background", "jobs": 0}) as server:
        poisoned, pack = _upload_and_damage(server, data, small)
        with Worker(data, "one") as one, Worker(data, "two") as two:
            yield from _killed(server, image, [one, two])
            yield from _poisoned(server, poisoned, pack, in_short=room.short)


def _killed(server: Server, image: Path, workers: Sequence[Worker]) -> Generator[Figure, None, None]:
    uploaded = client.upload(server.url, image)
    task = str(_task(server, uploaded)["id"])
    _until(lambda: any(worker.tries(task) for worker in workers), 30, "no worker began the job")
    first, second = sorted(workers, key=lambda worker: not worker.tries(task))
    time.sleep(_INTO_IT)
    first.kill()
    killed = time.monotonic()
    before = _task(server, uploaded)
    detail = (f"{before['status']}: {before['message']}", f"{image.stat().st_size >> 20} MiB to hash")
    yield holds("a worker was killed in the middle of its job", before["status"] == "processing", detail)
    _until(lambda: bool(second.tries(task)), 60, "the other worker never began it")
    again = time.monotonic() - killed
    yield at_most("it runs again, by the other worker", again, AGAIN_WITHIN, "s", ("from the kill to its next try",))
    _until(lambda: _task(server, uploaded)["status"] in {"success", "failure"}, 120, "the job did not end")
    time.sleep(3)  # a try too many would begin in that time: queues are looked at every second
    begun = [*first.tries(task), *second.tries(task)]
    ended = first.done(task) + second.done(task)
    detail = (
        f"tries that began: {', '.join(begun)}; told as done {ended} times",
        str(_task(server, uploaded)["message"]),
    )
    yield at_most("tries after the kill", len(begun) - 1, 1, "try", detail)
    yield holds("it succeeded, once", ended == 1 and _task(server, uploaded)["status"] == "success")
    record = client.call(f"{server.url}/v2/images/{uploaded}")
    right = (record["checksum"], record["os_hash_value"]) == (_hash(image, "md5"), _hash(image, "sha512"))
    yield holds("the image's hashes are those of hashlib", right, (f"{record['os_hash_algo']} and md5",))


def _poisoned(server: Server, image: str, pack: Path, *, in_short: bool) -> Generator[Figure, None, None]:
    """In the short form only the first tries are waited for: the pauses between all are a minute and a half."""
    if in_short:
        _until(lambda: _tries_told(server, image) >= _TRIES_IN_SHORT, 60, "the job was not tried again")
    else:
        _until(lambda: _task(server, image)["status"] == "failure", _GIVEN_UP_WITHIN, "the job never ended")
    task = _task(server, image)
    message = str(task["message"])
    wanted = "pending" if in_short else "failure"
    tries = f"of {_TRIES} failed" if in_short else f"Given up after {_TRIES} tries"
    yield told("a job whose image is damaged in its pack", str(task["status"]), (message,))
    what = "after its first tries it waits for the next" if in_short else "after its tries it is a failure"
    yield holds(what, task["status"] == wanted and tries in message)
    named = str(pack) in message and "upload an image with this block again" in message
    yield holds("the message names the pack and says what to do", named)
    shown = client.program(server.url, "tasks", image)
    yield holds("`drystone tasks IMAGE` shows it", "failed" in shown or "Given up" in shown, (shown.strip(),))
    record = client.call(f"{server.url}/v2/images/{image}")
    yield holds("the image has no hash that nobody computed", record["os_hash_value"] is None)


def _upload_and_damage(server: Server, data: Path, image: Path) -> tuple[str, Path]:
    """Uploads an image and flips a bit in the middle of what that wrote; its id and the pack."""
    before = _sizes(data)
    uploaded = client.upload(server.url, image)
    [(pack, begins, ends)] = [
        (path, before.get(path, 0), size) for path, size in _sizes(data).items() if size != before.get(path, 0)
    ]
    with pack.open("r+b") as file:
        file.seek((begins + ends) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))
    return uploaded, pack


def _sizes(data: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in (data / "packs").rglob("*") if path.is_file()}


def _task(server: Server, image: str) -> dict[str, Any]:
    """The image's one task."""
    [task] = client.call(f"{server.url}/v2/images/{image}/tasks")["tasks"]
    return dict(task)


def _tries_told(server: Server, image: str) -> int:
    found = re.match(r"Try (\d+) of", str(_task(server, image)["message"]))
    return int(found[1]) if found else 0


def _hash(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


def _until(come: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Waits for something; RuntimeError, which says what did not happen, when it takes longer."""
    deadline = time.monotonic() + seconds
    while not come():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} within {seconds:g} s")
        time.sleep(0.02)
