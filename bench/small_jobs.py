"""A thousand small jobs on a queue of their own: done by workers, and by plain transactions as the limit of that.

    python -m bench.small_jobs [--jobs 1000] [--rounds 3]

A job here computes the hashes of an image of one block, so that what it costs is the queue: it is claimed, begun and
ended. Two transactions are all that needs; the limit is how fast a plain program makes two such transactions a job, one
after another, on the same catalog and disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Self

from bench.images import WORK
from bench.places import ROOT, drystone
from bench.show.server import Server, environment
from catalog.jobs import steps
from catalog.model.task import HASH, NOBODY, image_task
from catalog.sql.open import SCHEMA, open_catalog
from httpapi.settings import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from catalog.model.task import Task
    from catalog.ports import UnitOfWork

JOBS: Final = 1000
_RECIPE: Final = 1  # part of the cache's name
_SIZE: Final = 65536
_WITHIN: Final = 300.0
_BEGINS, _DONE = " (hash) begins, try ", " (hash) is done"


def small_images(work: Path, count: int = JOBS) -> Path:
    """A closed data directory with so many images of one block; made once and kept: copy it before it is used."""
    home = work / f"small-images-{count}-{SCHEMA}-{_RECIPE}"
    if not home.exists():
        making = work / f"{home.name}.making"
        shutil.rmtree(making, ignore_errors=True)
        with Server(making) as server, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda seed: _upload(server.port, seed), range(count)))
        making.rename(home)
    return home


def _upload(port: int, seed: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        wanted = json.dumps({"disk_format": "raw", "container_format": "bare", "name": f"small-{seed}"})
        connection.request("POST", "/v2/images", wanted, {"Content-Type": "application/json"})
        image = json.loads(connection.getresponse().read())["id"]
        connection.request(
            "PUT",
            f"/v2/images/{image}/file",
            Random(seed).randbytes(_SIZE),
            {"Content-Type": "application/octet-stream"},
        )
        response = connection.getresponse()
        response.read()
        if response.status != 204:
            raise RuntimeError(f"an image was not taken: {response.status}")


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from a job's being enqueued: until it began, and until it was done; in the order of the jobs."""

    begun: Sequence[float]
    done: Sequence[float]
    seconds: float  # from the first beginning to the last end

    @property
    def per_second(self) -> float:
        return len(self.done) / self.seconds


def share(waits: Sequence[float], percent: int) -> float:
    """What so many percent of the waits do not exceed."""
    return sorted(waits)[min(len(waits) - 1, len(waits) * percent // 100)]


class Queue:
    """The jobs of a data directory that nobody else uses, and workers on it."""

    def __init__(self, data: Path) -> None:
        self.catalog = data / CATALOG_FILE
        self._data = data
        with contextlib.closing(sqlite3.connect(self.catalog)) as connection:
            self.images = [str(image) for [image] in connection.execute("SELECT id FROM images ORDER BY id")]

    def by_workers(self, workers: int, *, every: float = 0.0) -> Waits:
        """All images' jobs by so many processes: enqueued at once, or one `every` so many seconds."""
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(Worker(self._data, f"worker-{number}")) for number in range(workers)]
            time.sleep(1.5)  # at rest, as they are when nothing is to be done
            tasks = asyncio.run(self._enqueue(every))
            self._until_done()
        return _waits(tasks, [worker.log() for worker in running])

    async def _enqueue(self, every: float) -> list[Task]:
        database = open_catalog(self.catalog)
        try:
            tasks: list[Task] = []

            def all_at_once(uow: UnitOfWork) -> None:
                for image in self.images:
                    _enqueue(uow, image, tasks)

            if not every:
                await database.write(all_at_once)
                return tasks
            began = time.monotonic()
            for number, image in enumerate(self.images):
                await asyncio.sleep(max(0.0, began + number * every - time.monotonic()))
                await database.write(lambda uow, image=image: _enqueue(uow, image, tasks))  # type: ignore[misc]
            return tasks
        finally:
            database.close()

    def _until_done(self) -> None:
        deadline = time.monotonic() + _WITHIN
        with contextlib.closing(sqlite3.connect(f"file:{self.catalog}?mode=ro", uri=True)) as connection:
            while connection.execute("SELECT 1 FROM jobs LIMIT 1").fetchone():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"jobs are left after {_WITHIN:g} s")
                time.sleep(0.1)

    def plainly(self) -> float:
        """Jobs a second by the limit: claimed by one transaction and ended by another, each durable, and no more."""
        tasks = asyncio.run(self._enqueue(0.0))
        with contextlib.closing(sqlite3.connect(self.catalog, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            began = time.monotonic()
            for task in tasks:
                for statements in (_CLAIM, _END):
                    connection.execute("BEGIN IMMEDIATE")
                    for statement in statements:
                        connection.execute(
                            statement, {"task": task.id, "image": task.image_id, "now": _now()}
                        ).fetchall()
                    connection.execute("COMMIT")
            return len(tasks) / (time.monotonic() - began)


# What a job's two transactions read and write, by the shortest statements for it.
_CLAIM: Final = (
    "SELECT id FROM jobs WHERE claim_id IS NULL AND run_at <= :now ORDER BY run_at, id LIMIT 1",
    "UPDATE jobs SET claim_id = :task, process = :task, heard_at = :now, attempts = 1 WHERE id = :task",
    "SELECT * FROM tasks WHERE id = :task",
    "UPDATE tasks SET status = 'processing', message = 'Begun.', updated_at = :now WHERE id = :task",
)
_END: Final = (
    "DELETE FROM jobs WHERE id = :task",
    "SELECT * FROM tasks WHERE id = :task",
    "SELECT * FROM images WHERE id = :image",
    "UPDATE images SET checksum = hex(randomblob(16)), updated_at = :now WHERE id = :image",
    """UPDATE tasks SET status = 'success', progress = 100, message = 'Hashed 1 MiB.', updated_at = :now,
        expires_at = :now + 172800000000 WHERE id = :task""",
)


class Worker:
    """`drystone worker` on a data directory, in a process of its own."""

    def __init__(self, data: Path, name: str, prefix: Sequence[str] = ()) -> None:
        self._log = data.parent / f"{name}.log"
        command = [*prefix, *drystone(), "worker", "--data", str(data)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment({"DRYSTONE_LOG_FORMAT": "json"}), stdout=log, stderr=log
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 30
        while b"works on the jobs of" not in self._log.read_bytes():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"a worker does not start: {self._log.read_text()[-500:]}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def log(self) -> str:
        return self._log.read_text()


def _enqueue(uow: UnitOfWork, image: str, tasks: list[Task]) -> None:
    task = image_task(HASH, image_id=image, owner=None, by=NOBODY, at=datetime.now(UTC))
    steps.enqueue(uow, task)
    tasks.append(task)


def _waits(tasks: Sequence[Task], logs: Sequence[str]) -> Waits:
    begun, done = dict(_told(logs, _BEGINS)), dict(_told(logs, _DONE))
    enqueued = {task.id: task.created_at.timestamp() for task in tasks}
    return Waits(
        [begun[task] - at for task, at in enqueued.items()],
        [done[task] - at for task, at in enqueued.items()],
        max(done[task] for task in enqueued) - min(begun[task] for task in enqueued),
    )


def _told(logs: Sequence[str], what: str) -> Iterator[tuple[str, float]]:
    """Of each job of which a log tells that: its id, and when."""
    for line in "".join(logs).splitlines():
        if what in line:
            told: Mapping[str, str] = json.loads(line)
            yield told["message"].split()[1], datetime.fromisoformat(told["time"]).timestamp()


def _now() -> int:
    return int(time.time() * 1_000_000)


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians over the rounds."""

    plain: float  # jobs a second, by two plain transactions each
    one: float
    two: float
    rounds: Sequence[tuple[float, float, float]]


def measure(queue: Queue, rounds: int) -> Measured:
    """The limit, one worker and two, by turns."""
    turns: list[Callable[[], float]] = [
        queue.plainly,
        lambda: queue.by_workers(1).per_second,
        lambda: queue.by_workers(2).per_second,
    ]
    found: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        plain, one, two = (turn() for turn in turns)
        found.append((plain, one, two))
    plain, one, two = (statistics.median(column) for column in zip(*found, strict=True))
    return Measured(plain, one, two, found)


@contextlib.contextmanager
def a_queue(work: Path, jobs: int) -> Iterator[Queue]:
    """A queue on a copy of the data directory that is kept."""
    kept = small_images(work, jobs)
    with tempfile.TemporaryDirectory(dir=work, prefix="small-jobs-") as room:
        yield Queue(shutil.copytree(kept, Path(room) / "data"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.small_jobs", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    with a_queue(WORK, wanted.jobs) as queue:
        found = measure(queue, wanted.rounds)
        print(f"plain {found.plain:.0f}, one worker {found.one:.0f}, two {found.two:.0f} jobs/s; rounds {found.rounds}")
        for workers in (1, 2):
            waits = queue.by_workers(workers, every=2 / found.one)
            told = ", ".join(
                f"{name} p{percent} {share(each, percent) * 1000:.0f} ms"
                for name, each in (("begun", waits.begun), ("done", waits.done))
                for percent in (50, 99)
            )
            print(f"at half the speed of one, {workers} workers: {told}")


if __name__ == "__main__":
    main()
