"""kill -9 of the server or of a worker in imports: they go on, nothing stays behind, nothing is stored twice."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bench import volume
from bench.counting_proxy import CountingProxy
from bench.images import MIB, compressible_image
from bench.kept_places import SECRETS, InS3, OnVolume, stores_file
from bench.show import client
from bench.show.bound.jobs import Worker
from bench.show.registry import MB, Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server
from bench.volume import Volume
from httpapi.settings import CATALOG_FILE
from tests.kit.broken_web import BrokenWeb, Served
from tests.kit.real_s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

AGAIN_WITHIN: Final = 30.0
_LONG, _SHORT = 128 * MIB, 64 * MIB
_MOMENTS: Final = (0.0, 0.3, 0.6, 0.9)
"""Parts of the time that a job takes at `_RATE`, from its beginning to the kill."""
_RATE: Final = 32 * MIB
"""Bytes a second that the source gives and the bucket takes."""
_GENERATION: Final = 64 * MIB
"""Bytes of an upload that may not be durable when its process dies: they are stored again."""
_METHODS: Final = ("web-download", "glance-direct", "copy-image")
_LEFTOVERS: Final = ("staged", "pins", "loose_copies", "jobs")


@check(
    "locations",
    "killed-jobs",
    "kill -9 in web-download, copy and import: it runs again within 30 s, and nothing stays.",
)
def killed_jobs(room: Room) -> Generator[Figure, None, None]:
    if why := volume.missing():
        yield holds("a volume can be made here", False, (why,))
        return
    os.environ |= SECRETS
    size, moments = (_SHORT, _MOMENTS[2:3]) if room.short else (_LONG, _MOMENTS)
    count = len(_METHODS) * 2 * len(moments)
    with ExitStack() as stack:
        scene = _scene(room, size, 2 * count * size, stack)
        alone = scene.stored_alone()
        for method in _METHODS:
            trials = [scene.trial(method, victim, part) for victim in ("worker", "server") for part in moments]
            yield from _figures(method, trials, alone, size)
        yield from scene.what_stays()


@dataclass(frozen=True, slots=True)
class _Trial:
    """One kill: seconds until the job ran again (None: it was over before), how it ended, and what it stored."""

    again: float | None
    right: bool
    stored: int  # bytes in packs, of the whole import
    told: str


def _figures(method: str, trials: list[_Trial], alone: int, size: int) -> Generator[Figure, None, None]:
    killed = [trial for trial in trials if trial.again is not None]
    detail = tuple(trial.told for trial in trials)
    yield at_least(f"{method}: jobs killed at work", len(killed), max(1, len(trials) * 2 // 3), "", detail)
    if killed:
        longest = max(trial.again or 0.0 for trial in killed)
        yield at_most(
            f"{method}: runs again, the longest", longest, AGAIN_WITHIN, "s", ("from the kill to its next try",)
        )
    wrong = [trial.told for trial in trials if not trial.right]
    yield at_most(f"{method}: images that are not whole and active in the end", len(wrong), 0, "", tuple(wrong))
    most = max(trial.stored for trial in trials)
    # What a PUT of an image like it stored, and once more what was not durable yet.
    again = min(_GENERATION / size, 1.0) * alone if method == "web-download" else 0.0
    bound = (alone + again if method == "web-download" else 0.0) + MIB
    what = (f"an upload of such an image stored {alone / MB:.1f} MB",)
    yield at_most(f"{method}: stored of an image, the most", most / MB, bound / MB, "MB", what)


@dataclass(slots=True)
class _Scene:
    """A data directory, its stores and what works on it."""

    work: Path
    size: int
    settings: Mapping[str, object]
    fast: OnVolume
    deep: InS3
    web: BrokenWeb
    source: CountingProxy
    number: int = 0
    images: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.work / "data"

    def stored_alone(self) -> int:
        """What an image of this kind takes in packs, uploaded in peace."""
        with Server(self.data, settings=self.settings) as server:
            before = self.in_packs()
            self.images.append(client.upload(server.url, self.image()))
            return self.in_packs() - before

    def image(self) -> Path:
        """Another one, of the same kind and size."""
        self.number += 1
        path = self.work / "image"
        compressible_image(path, self.size, seed=1000 + self.number)
        return path

    def in_packs(self) -> int:
        return sum(path.stat().st_size for path in (self.data / "packs").rglob("*") if path.is_file())

    def trial(self, method: str, victim: str, part: float) -> _Trial:
        """One import whose worker, or the server that works on it, is killed after that part of its time."""
        file = self.image()
        after = part * self.size / _RATE
        with ExitStack() as stack:
            jobs = 0 if victim == "worker" else 1
            server = stack.enter_context(Server(self.data, settings={**self.settings, "jobs": jobs}))
            workers = [
                stack.enter_context(Worker(self.data, f"{self.number}-{name}", self.settings))
                for name in ("one", "two")
                if victim == "worker"
            ]
            logs: list[Callable[[], str]] = [worker.log for worker in workers] or [
                lambda: server.log.read_text(errors="replace")
            ]
            before = self.in_packs()
            image = self.begin(server, method, file)
            if method != "web-download":
                before = self.in_packs()
            task = str(_task(server, image)["id"])
            _until(lambda: any(_tries(log(), task) for log in logs), 60, "the job was not begun")
            time.sleep(after)
            over = _task(server, image)["status"] in {"success", "failure"}
            tries = sum(_tries(log(), task) for log in logs)
            killed = time.monotonic()
            if victim == "worker":
                next(worker for worker in workers if _tries(worker.log(), task)).kill()
            else:
                server.kill()
                server.start()
            again: float | None = None
            if not over:
                _until(lambda: sum(_tries(log(), task) for log in logs) > tries, 120, "the job was not begun again")
                again = time.monotonic() - killed
            _until(lambda: _task(server, image)["status"] in {"success", "failure"}, 240, "the job did not end")
            ended = _task(server, image)
            record = client.call(f"{server.url}/v2/images/{image}")
            right = self.is_right(server, record, file) and ended["status"] == "success"
            stored = self.in_packs() - before
        self.images.append(image)
        ran = "over before" if again is None else f"again after {again:.1f} s"
        said = f"{victim} killed {after:.1f} s into it: {ran}, {stored / MB:.1f} MB stored; {ended['message']}"
        return _Trial(again, right, stored, said)

    def begin(self, server: Server, method: str, file: Path) -> str:
        """An import has been asked for; the image's id."""
        url = f"{server.url}/v2/images"
        wanted: dict[str, object] = {"method": {"name": method}, "stores": ["blocks", "fast", "deep"]}
        if method == "copy-image":
            image = client.upload(server.url, file)
            wanted["stores"] = ["fast", "deep"]
        else:
            image = client.create(server.url, file.name)
        if method == "web-download":
            path = f"/image-{self.number}"
            self.web.files[path] = Served(size=self.size, read=_reader(file))
            wanted["method"] = {"name": method, "uri": f"{self.source.url}{path}"}
        elif method == "glance-direct":
            command = [word.replace("/file", "/stage") for word in client.put_command(server.url, image, file)[-1:]]
            client.run([*client.put_command(server.url, image, file)[:-1], *command])
        client.call(f"{url}/{image}/import", "POST", wanted)
        return image

    def is_right(self, server: Server, record: Mapping[str, Any], file: Path) -> bool:
        """Active, in all three places, with the right hash, unlocked, and so it reads."""
        back = self.work / "back"
        client.download(server.url, str(record["id"]), back)
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, str(record["os_hash_algo"])).hexdigest()
        whole = record["status"] == "active" and record["os_hash_value"] == digest and client.same(file, back)
        unlocked = "os_glance_import_task" not in record
        return whole and unlocked and sorted(record["stores"].split(",")) == ["blocks", "deep", "fast"]

    def what_stays(self) -> Iterator[Figure]:
        """What is left when all is over and swept."""
        with Server(self.data, settings=self.settings) as server:
            _until(lambda: not any(self.rows().values()), 60, f"rows stay: {self.rows()}", fails=False)
            rows = self.rows()
            listed = len(client.call(f"{server.url}/v2/images?limit=1000")["images"])
        detail = tuple(f"{name}: {count}" for name, count in rows.items())
        yield at_most("rows of staged bytes, pins, loose copies, jobs", sum(rows.values()), 0, "", detail)
        journals = [path for path in (self.data / "journals").rglob("*") if path.is_file()]
        yield at_most("journals", len(journals), 0, "", tuple(path.name for path in journals[:5]))
        copied = len(self.images) - 1
        files = [path for path in self.fast.volume.mount_point.glob("images/**/*") if path.is_file()]
        yield at_most("files on the volume beyond the images' copies", len(files) - copied, 0, "")
        yield at_most("objects in the bucket beyond the images' copies", self.deep.copies() - copied, 0, "")
        yield at_most("unfinished uploads in the bucket", self.deep.unfinished(), 0, "")
        yield told("images in the end", str(listed))

    def rows(self) -> dict[str, int]:
        with closing(sqlite3.connect(f"file:{self.data / CATALOG_FILE}?mode=ro", uri=True)) as catalog:
            return {name: int(catalog.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]) for name in _LEFTOVERS}


def _scene(room: Room, size: int, space: int, stack: ExitStack) -> _Scene:
    fast = OnVolume(stack.enter_context(Volume(room.work / "volume.img", room.work / "fast", space)))
    s3 = stack.enter_context(S3Server(room.work / "s3"))
    deep = InS3(s3, stack.enter_context(CountingProxy(s3.port, rate=_RATE)))
    web = stack.enter_context(BrokenWeb())
    source = stack.enter_context(CountingProxy(web.port, rate=_RATE))
    file = stores_file(room.work / "stores.toml", [fast, deep], "fast")
    settings = {
        "stores_file": file,
        "outgoing_ports": source.port,
        "outgoing_networks": "127.0.0.0/8",
        "log_level": "info",
    }
    return _Scene(room.work, size, settings, fast, deep, web, source)


def _reader(file: Path) -> Callable[[int, int], bytes]:
    data = file.read_bytes()
    return lambda start, stop: data[start:stop]


def _task(server: Server, image: str) -> dict[str, Any]:
    """The image's import."""
    tasks = client.call(f"{server.url}/v2/images/{image}/tasks")["tasks"]
    return next(dict(task) for task in tasks if task["type"] == "api_image_import")


def _tries(log: str, task: str) -> int:
    return len(re.findall(rf"job {task} \(\w+\) begins, try", log))


def _until(come: Callable[[], bool], seconds: float, otherwise: str, *, fails: bool = True) -> None:
    """Waits for something; RuntimeError, which says what did not happen, when it takes longer."""
    deadline = time.monotonic() + seconds
    while not come():
        if time.monotonic() > deadline:
            if fails:
                raise RuntimeError(f"{otherwise} within {seconds:g} s")
            return
        time.sleep(0.02)
