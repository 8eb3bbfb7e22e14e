"""Over HTTP: a parent goes, and what it was made of is retired or collected, at every moment of a child's upload."""

from __future__ import annotations

import base64
import contextlib
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration
from tests.kit.filled_store import looked_after
from tests.kit.quiet_worker import until_quiet
from tests.kit.sent_deltas import SentDelta, blocks_of
from tests.kit.two_projects import OCTETS, two_projects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.running_server import Answer
    from tests.kit.two_projects import TwoProjects, User

BLOCK = 4096
OLDEST = random.Random(21).randbytes(300 * BLOCK + 77)


def edited(data: bytes, seed: int) -> bytes:
    changed = bytearray(data)
    for number in random.Random(seed).sample(range(300), 9):
        changed[number * BLOCK] ^= 1
    return bytes(changed)


OLD = edited(OLDEST, 1)
NEW = edited(OLD, 2)
CHANGED = [(at, block) for at, block in blocks_of(NEW, BLOCK).items() if block != blocks_of(OLD, BLOCK)[at]]


@dataclass
class World:
    """A server that can be stopped and started again; a line of two images, and what becomes of their child."""

    root: Path
    served: TwoProjects
    stack: contextlib.ExitStack
    line: list[str] = field(default_factory=list)
    child: str = ""

    @property
    def ann(self) -> User:
        return self.served.ann

    def create(self) -> Answer:
        wanted = {"disk_format": "raw", "container_format": "bare", "parent_image_ref": self.line[1]}
        answer = self.ann.call("POST", "/v2/images", json_body=wanted)
        self.child = answer.json["id"] if answer.status == 201 else ""
        return answer

    def quiet(self) -> None:
        self.served.server.run(until_quiet(self.served.server.services))

    def delete_line(self) -> None:
        for image in self.line[::-1]:
            assert self.ann.call("DELETE", f"/v2/images/{image}").status == 204
        self.quiet()

    def coalesce_and_delete_line(self) -> None:
        """What the child lies over is nobody's any more before its image goes."""
        assert self.ann.call("POST", f"/v2/images/{self.line[1]}/actions/coalesce").status == 202
        self.quiet()
        self.delete_line()

    def delete_and_collect_line(self) -> None:
        self.delete_line()
        self.restart()

    def restart(self) -> None:
        """The server stops, what nothing holds is collected, all that is there is looked at, and it serves again."""
        self.stack.close()
        with looked_after(self.root / "data", exclusive=True) as (store, records):
            administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())
        with looked_after(self.root / "data") as (store, records):
            found = administration.verify_all(store, records, Wanted(data=True), Silent())
            assert found.verified.clean, found.verified.findings
        self.served = self.stack.enter_context(two_projects(self.root))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        made = World(tmp_path, stack.enter_context(two_projects(tmp_path)), stack)
        made.line.append(made.ann.put_image(OLDEST))
        made.line.append(made.ann.put_image(OLD, parent_image_ref=made.line[0]))
        yield made


REFUSED = "refused, 400 invalid"
CUT = "cut off"
RIGHT = "right"
Upload = Callable[[World], Generator[str, None, str]]
"""A child's upload, moment by moment; gives what came of it."""


def plain(world: World) -> Generator[str, None, str]:
    """By PUT."""
    yield "before it is created"
    answer = world.create()
    if answer.status != 201:
        return f"refused, {answer.status} {answer.code}"
    yield "created"
    half = len(NEW) // 2
    with world.ann.server.connect() as connection:
        connection.sendall(head_of_put(world) + NEW[:half])
        until(lambda: world.ann.status_of(world.child) == "saving")
        yield "half-way"
        try:
            connection.sendall(NEW[half:-1])
            yield "but for a byte"
            connection.sendall(NEW[-1:])
            said = connection.recv(65536).partition(b"\r\n")[0]
        except OSError:
            said = b""
    if not said:
        return CUT
    assert said.split()[1] == b"204"
    yield "committed"
    return RIGHT


def delta(world: World) -> Generator[str, None, str]:
    """By a delta session over the parent."""
    yield "before it is created"
    answer = world.create()
    if answer.status != 201:
        return f"refused, {answer.status} {answer.code}"
    yield "created"
    asked = {"size": len(NEW), "base": world.line[1]}
    answer = world.ann.call("POST", f"/v2/images/{world.child}/deltas", json_body=asked)
    if answer.status != 201:
        return f"refused, {answer.status} {answer.code}"
    upload = answer.json["id"]
    yield "begun"
    SentDelta(world.ann, world.child, upload).send(CHANGED[:4])
    yield "half-way"
    SentDelta(world.ann, world.child, upload).send(CHANGED[4:])
    yield "before the commit"
    SentDelta(world.ann, world.child, upload).finish(len(CHANGED))
    yield "committed"
    return RIGHT


MOMENTS: list[tuple[Upload, str]] = [
    *((plain, moment) for moment in ("before it is created", "created", "half-way", "but for a byte", "committed")),
    *((delta, moment) for moment in ("before it is created", "created", "begun", "half-way")),
    *((delta, moment) for moment in ("before the commit", "committed")),
]
ENDS = [World.delete_line, World.coalesce_and_delete_line, World.delete_and_collect_line]


def expected(upload: Upload, moment: str, end: Callable[[World], None]) -> str:
    """A delta names its parent a second time, as its base; a stream dies with its server, a session doesn't."""
    if moment == "before it is created" or (upload is delta and moment == "created"):
        return REFUSED
    if upload is plain and moment in {"half-way", "but for a byte"} and end is World.delete_and_collect_line:
        return CUT
    return RIGHT


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize(("upload", "moment"), MOMENTS)
def test_a_child_commits_right_or_fails_cleanly_whenever_its_parent_goes(
    world: World, upload: Upload, moment: str, end: Callable[[World], None]
) -> None:
    assert driven(upload(world), moment, lambda: end(world)) == expected(upload, moment, end)
    if expected(upload, moment, end) == RIGHT:
        assert world.ann.bytes_of(world.child) == NEW
    elif world.child:
        # Nothing is left saving: the image waits for its bytes, and takes them.
        until(lambda: world.ann.status_of(world.child) == "queued")
        assert world.ann.call("GET", f"/v2/images/{world.child}/deltas").json["deltas"] == []
        assert world.ann.call("PUT", f"/v2/images/{world.child}/file", NEW, OCTETS).status == 204
    world.quiet()
    world.restart()
    images = world.ann.call("GET", "/v2/images").json["images"]
    assert [(image["id"], image["status"]) for image in images] == [(world.child, "active")] * bool(world.child)
    if world.child:
        assert world.ann.bytes_of(world.child) == NEW


def driven(upload: Generator[str, None, str], moment: str, act: Callable[[], None]) -> str:
    """The whole upload, with `act` at that moment; what came of it."""
    while True:
        try:
            reached = next(upload)
        except StopIteration as end:
            return str(end.value)
        if reached == moment:
            act()


def head_of_put(world: World) -> bytes:
    login = base64.b64encode(b"ann:ann").decode()
    return (
        f"PUT /v2/images/{world.child}/file HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {login}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(NEW)}\r\n\r\n"
    ).encode()


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
