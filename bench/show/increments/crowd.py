"""Ten clients push children of one parent at once, while their ancestors are deleted and coalesced."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import count
from bench.images import MIB
from bench.parts import parts_for
from bench.places import drystone
from bench.show import client
from bench.show.increments.delta import Pusher
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

CLIENTS = 10
_LONG, _SHORT = (32 * MIB, 3, 4), (8 * MIB, 2, 2)  # bytes of an image, rounds, pushes of each client in a round
_EDITED = 0.03  # of the blocks, in each child
_LINE = 4  # images that the parent came from, itself included
_DOOMED_AT = 0.8  # of the pushes are done when their parent goes
_QUIET_WITHIN = 120.0
# The answers to who names a parent that is gone: by `drystone push` and by a plain create.
_REFUSED = re.compile(r"404|No image|Invalid parent_image_ref|Base '[^']*' is no image|no longer", re.IGNORECASE)


@check(
    "increments",
    "crowd",
    "Ten clients push children of one parent while ancestors go and are coalesced: no failure, all bytes right.",
)
def crowd(room: Room) -> Generator[Figure, None, None]:
    size, rounds, each = _SHORT if room.short else _LONG
    disk, data = room.work / "disk.img", room.work / "data"
    with parts_for(room).whole.open("rb") as source:
        disk.write_bytes(source.read(size))
    held = Held()
    seen = Seen()
    for number in range(rounds):
        # Whoever is deleted is gone at once, so that chains are coalesced while they are built on.
        with Server(data, settings={"gc_keep_deleted": 0}) as server:
            _Round(server.url, disk, held, seen, each, random.Random(number), room.work / f"round-{number}").run()
            seen.look(server.url, held)
        client.run([*drystone(), "admin", "gc", "--offline", "--keep-deleted", "0", "--data", str(data), "--json"])
        with Server(data) as server:
            seen.look(server.url, held)
            seen.tasks = Counter(_ends(server.url))
    clean = json.loads(client.run([*drystone(), "admin", "verify", "--read-data", "--data", str(data), "--json"]))
    yield from seen.figures(rounds)
    yield holds("in the end `admin verify --read-data` finds nothing wrong", bool(clean["clean"]))
    errors = [
        line for log in room.work.glob("data-*.log") for line in log.read_text().splitlines() if " ERROR " in line
    ]
    yield holds("the servers' logs have no error", not errors, tuple(errors[:20]))


@dataclass(slots=True)
class Held:
    """Which images there must be, each with the SHA-256 of its file."""

    images: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, image: str, file: Path) -> None:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        with self._lock:
            self.images[image] = found

    def gone(self, image: str) -> None:
        with self._lock:
            del self.images[image]


@dataclass(slots=True)
class Seen:
    """What came out, over all rounds."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    downloads: int = 0
    bytes_read: int = 0
    wrong: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    tasks: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pushed(self, how: str) -> None:
        with self._lock:
            self.done[how] += 1

    def failed(self, how: str, error: str, *, may: bool) -> None:
        """`may`: the parent was asked to be deleted before this push ended."""
        with self._lock:
            refusal = _REFUSED.search(error)
            if may and refusal is not None:
                self.refused[f"{how}: {_alike(error)}"] += 1
            else:
                self.failures.append(f"{how}: {error}")

    def look(self, url: str, held: Held) -> None:
        """Is every image there, whole, and no other?"""
        listed = {str(image["id"]): str(image["status"]) for image in _all(url, "/v2/images?limit=100", "images")}
        self.unlike += [f"{image} is {status}" for image, status in listed.items() if status != "active"]
        self.unlike += [f"only in one of both: {image}" for image in listed.keys() ^ held.images.keys()]
        with ThreadPoolExecutor(2) as pool:
            for image, (found, size) in zip(held.images, pool.map(partial(_read, url), held.images), strict=True):
                self.downloads += 1
                self.bytes_read += size
                if found != held.images[image]:
                    self.wrong.append(image)

    def figures(self, rounds: int) -> Iterator[Figure]:
        mixed = ", ".join(f"{number} by {how}" for how, number in self.done.items())
        yield told(f"children by {CLIENTS} clients in {rounds} rounds", f"{self.done.total()}", (mixed,))
        yield at_most("failures that no client caused", len(self.failures), 0, "pushes", tuple(self.failures[:10]))
        lines = tuple(f"{number} times {what}" for what, number in self.refused.most_common())
        yield told("refused, as their parent was deleted before they named it", f"{self.refused.total()}", lines)
        ends = tuple(f"{number} times {end}" for end, number in self.tasks.most_common())
        yield at_least("chains coalesced meanwhile", self.tasks["success"], rounds, "tasks", ends)
        detail = (f"{self.bytes_read / 1e9:.2f} GB in {self.downloads} downloads, before and after each gc",)
        yield at_most("images that are not their file", len(self.wrong), 0, "images", (*detail, *self.wrong[:10]))
        yield holds(
            "the list has what was pushed, all of it active, and nothing else", not self.unlike, tuple(self.unlike)
        )


class _Round:
    """One server's life: a line of ancestors, the crowd, and what disturbs it."""

    def __init__(
        self, url: str, disk: Path, held: Held, seen: Seen, each: int, dice: random.Random, work: Path
    ) -> None:
        self._url, self._disk, self._held, self._seen, self._each, self._dice = url, disk, held, seen, each, dice
        self._work = work
        self._begun = itertools.count(1)
        self._reached = 0
        self._doomed = threading.Event()
        self._moved = threading.Condition()

    def run(self) -> None:
        self._work.mkdir()
        line = self._line()
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            running = [pool.submit(self._client, number, line[-1]) for number in range(CLIENTS)]
            running.append(pool.submit(self._disturb, line))
            for one in running:
                one.result()
        self._until_quiet()
        # Some go, so that the next gc has something to free, and the lines of those that stay become shorter.
        for image in self._dice.sample(sorted(self._held.images), len(self._held.images) // 2):
            self._delete(image)
        self._until_quiet()
        shutil.rmtree(self._work)

    def _line(self) -> list[str]:
        """The parent and those that it came from, oldest first; the parent is what the disk's file has."""
        line: list[str] = []
        for _ in range(_LINE):
            _edit(self._disk, self._dice)
            image = client.create(self._url, "disk", parent=line[-1] if line else None)
            client.run(client.put_command(self._url, image, self._disk))
            self._held.add(image, self._disk)
            line.append(image)
        return line

    def _client(self, number: int, parent: str) -> None:
        dice, file = random.Random(number), self._work / f"client-{number}.img"
        user = Pusher(self._work / f"home-{number}")
        for turn in range(self._each):
            shutil.copyfile(self._disk, file)
            _edit(file, dice)
            how, push = (
                ("`drystone push --parent`", partial(self._push, user))
                if (number + turn) % 2
                else ("PUT with parent_image_ref", self._put)
            )
            try:
                image = push(file, parent)
            except RuntimeError as error:
                self._seen.failed(how, str(error), may=self._doomed.is_set())
            else:
                self._held.add(image, file)
                self._seen.pushed(how)
            with self._moved:
                self._reached += 1
                self._moved.notify_all()

    def _push(self, user: Pusher, file: Path, parent: str) -> str:
        return user.run(self._url, "push", str(file), "--name", "disk", "--parent", parent, "--quiet").strip()

    def _put(self, file: Path, parent: str) -> str:
        image = client.create(self._url, "disk", parent=parent)
        client.run(client.put_command(self._url, image, file))
        return image

    def _disturb(self, line: list[str]) -> None:
        """A step at the start and after each so many pushes; the parent goes last, while they still push."""
        oldest, older, old, parent = line
        steps: list[Callable[[], None]] = [
            partial(self._coalesce, parent),
            partial(self._delete, older),
            partial(self._coalesce, old),
            partial(self._delete, oldest),
            partial(self._coalesce, parent),
            partial(self._delete, old),
            self._coalesce_a_child,
            partial(self._delete_doomed, parent),
        ]
        total = CLIENTS * self._each
        for at, step in enumerate(steps):
            with self._moved:
                self._moved.wait_for(lambda at=at: self._reached >= _DOOMED_AT * total * at / (len(steps) - 1))  # type: ignore[misc]  # mypy can't infer a lambda's defaults
            step()

    def _delete_doomed(self, parent: str) -> None:
        self._doomed.set()
        self._delete(parent)

    def _coalesce_a_child(self) -> None:
        self._coalesce(self._dice.choice(sorted(self._held.images)))

    def _delete(self, image: str) -> None:
        client.delete(self._url, image)
        self._held.gone(image)

    def _coalesce(self, image: str) -> None:
        client.call(f"{self._url}/v2/images/{image}/actions/coalesce", "POST")

    def _until_quiet(self) -> None:
        """Waits for the jobs that all this has begun."""
        deadline = time.monotonic() + _QUIET_WITHIN
        while any(list(_all(self._url, f"/v2/tasks?status={status}", "tasks")) for status in ("pending", "processing")):
            if time.monotonic() > deadline:
                raise RuntimeError(f"jobs are still under way after {_QUIET_WITHIN:.0f} s")
            time.sleep(0.1)


def _all(url: str, path: str, what: str) -> Iterator[dict[str, Any]]:
    """A list over all its pages."""
    follows: str | None = path
    while follows:
        page = client.call(f"{url}{follows}")
        yield from page[what]
        follows = page.get("next")


def _ends(url: str) -> Iterator[str]:
    """How each coalescing ended."""
    for task in _all(url, "/v2/tasks?type=coalesce", "tasks"):
        whole = client.call(f"{url}/v2/tasks/{task['id']}")
        yield _alike(str(whole["message"])) if whole["status"] == "failure" else str(whole["status"])


def _read(url: str, image: str) -> tuple[str, int]:
    """The SHA-256 of a download, and its length."""
    digest, size = hashlib.sha256(), 0
    command = client.get_command(url, image, "-")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(MIB):
            digest.update(piece)
            size += len(piece)
    return (digest.hexdigest() if process.returncode == 0 else f"curl ended with {process.returncode}"), size


def _edit(file: Path, dice: random.Random) -> None:
    """Some bytes in blocks all over the file; one block becomes a hole."""
    blocks = file.stat().st_size // count.BLOCK
    numbers = dice.sample(range(blocks), int(_EDITED * blocks) + 2)
    with file.open("r+b") as opened:
        for number in numbers[1:]:
            opened.seek(number * count.BLOCK + dice.randrange(count.BLOCK - 1000))
            opened.write(dice.randbytes(dice.randrange(16, 1000)))
        opened.seek(numbers[0] * count.BLOCK)
        opened.write(bytes(count.BLOCK))


def _alike(error: str) -> str:
    """The last line of what a program or a server said, without the ids and ports that differ."""
    said = error.strip().splitlines()[-1] if error.strip() else ""
    return re.sub(r"http://[^/]*/", "/", re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", said))
