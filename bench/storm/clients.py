"""Clients that do at random what clients do, each with images of its own, and keepers that look after the data."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import shutil
import subprocess
import time
import urllib.error
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.images import MIB
from bench.show import client
from bench.show.collection.space import edit
from bench.show.increments.delta import Pusher
from bench.storm.oracle import Oracle, Tally, digest_of, is_explained

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bench.storm.world import World

_EDITED: Final = 0.1  # of the blocks, in each version
_MOST: Final = 12  # images of one client
_KEPT: Final = 3  # of them by `forget`
_CATCHES_UP: Final = 0.8  # of the turns are of what was done least
_SETTLED_WITHIN: Final = 90.0
_WORK: Final = ("forgotten", "packs_dropped", "packs_rewritten", "manifests_removed", "manifests", "packs", "entries")
"""What verbs say of their work, as far as they have it."""
_ONLY_ERRORS: Final = (RuntimeError, urllib.error.URLError, OSError)
"""What a client gets from a server that is killed, frozen or busy."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a client does: how often, and with how many images of its own at least and at most."""

    name: str
    run: Callable[[Client], None]
    weight: int = 1
    fewest: int = 0
    most: int = _MOST * 2


class Client:
    """One line of images: nobody else makes or deletes them, so what must be there is certain."""

    def __init__(
        self, number: int, seed: int, world: World, oracle: Oracle, tally: Tally, disk: Path, work: Path
    ) -> None:
        self.name = f"line-{number}"
        self.dice = random.Random(f"client {seed} {number}")
        self.mine: list[str] = []  # in the order of their making
        self._world, self._oracle, self._tally = world, oracle, tally
        work.mkdir()
        self._disk = shutil.copyfile(disk, work / "disk.img")
        self._back = work / "back.img"
        self._user = Pusher(work / "home")

    def run(self, operations: Iterable[Operation], ended: threading.Event) -> None:
        """One after another, until it is told to end."""
        listed = list(operations)
        while not ended.is_set():
            possible = [each for each in listed if each.fewest <= len(self.mine) <= each.most]
            chosen = self.dice.choices(possible, [each.weight for each in possible])[0]
            if self.dice.random() < _CATCHES_UP:
                chosen = min(possible, key=lambda each: self._tally.done[each.name])
            try:
                chosen.run(self)
            except _ONLY_ERRORS as error:
                self._tally.ended(chosen.name, alike(str(error)))
            else:
                self._tally.ended(chosen.name)

    @property
    def url(self) -> str:
        return self.dice.choice(self._world.urls())

    def put(self) -> None:
        """A version by create and PUT, half of them as increments."""
        image, parent = self._next(), self._parent()
        try:
            record = {"id": image, "name": self.name, "disk_format": "raw", "container_format": "bare"}
            client.call(f"{self.url}/v2/images", "POST", record | ({"parent_image_ref": parent} if parent else {}))
            client.run(client.put_command(self.url, image, self._disk))
        finally:
            self._settle(image)

    def push(self) -> None:
        """A version by `drystone push`."""
        image, parent = self._next(), self._parent()
        try:
            options = ["--id", image, "--name", self.name, "--parent", parent or "none", "--quiet"]
            self._user.run(self.url, "push", str(self._disk), *options)
        finally:
            self._settle(image)

    def pull(self) -> None:
        """Onto whatever the last pull has left, by `drystone pull`."""
        image = self.dice.choice(self.mine)
        self._user.run(self.url, "pull", image, str(self._back), "--force", "--quiet")
        self._oracle.saw(image, digest_of(self._back), "pull")

    def read(self) -> None:
        """A download by curl."""
        image = self.dice.choice(self.mine)
        self._oracle.saw(image, download(self.url, image), "download")

    def delete(self) -> None:
        with self._deleting() as image:
            client.delete(self.url, image)

    def undelete(self) -> None:
        """What was deleted just now, unless a collector was quicker."""
        with self._deleting() as image:
            client.delete(self.url, image)
            try:
                client.call(f"{self.url}/v2/images/{image}/actions/undelete", "POST")
            except RuntimeError as error:
                if ": 410 " not in str(error):
                    raise
            else:
                self._oracle.hold(image)

    def coalesce(self) -> None:
        client.call(f"{self.url}/v2/images/{self.dice.choice(self.mine)}/actions/coalesce", "POST")

    def forget(self) -> None:
        """All but the newest, by `drystone forget`."""
        going = self.mine[:-_KEPT]
        for image in going:
            self._oracle.drop(image)
        try:
            self._user.run(self.url, "forget", self.name, "--keep-last", str(_KEPT), "--yes", "--quiet")
        finally:
            left = [image for image in going if self._status(image) == "active"]
            for image in left:
                self._oracle.hold(image)
            self.mine = left + self.mine[-_KEPT:]
        if left:
            raise RuntimeError(f"it has left {len(left)} images and said that all is well")

    @contextlib.contextmanager
    def _deleting(self) -> Iterator[str]:
        """One of the images, which may go or come back in the block; who was cut off asks what became of it."""
        image = self.dice.choice(self.mine)
        self._oracle.drop(image)
        try:
            yield image
        finally:
            if self._status(image) == "active":
                self._oracle.hold(image)
            else:
                self.mine.remove(image)

    def _next(self) -> str:
        """The next version of the disk, and the id of the image that it will be."""
        edit(self._disk, self.dice, _EDITED)
        image = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
        self._oracle.begin(image, digest_of(self._disk))
        return image

    def _parent(self) -> str | None:
        return self.dice.choice(self.mine) if self.mine and self.dice.random() < 0.7 else None

    def _settle(self, image: str) -> None:
        """Whether the upload that has ended, in whatever way, has made an image."""
        if self._status(image) == "active":
            self.mine.append(image)
            self._oracle.hold(image)
            return
        for _ in range(10):
            with contextlib.suppress(*_ONLY_ERRORS):
                client.delete(self.url, image)
            if self._status(image) == "gone":
                return
        raise RuntimeError(f"an upload that was cut off cannot be deleted, it is {self._status(image)}")

    def _status(self, image: str) -> str:
        """`gone`, or what the image is when nobody is at work on it; asked until a server answers."""
        deadline = time.monotonic() + _SETTLED_WITHIN
        while True:
            try:
                found = client.status(self.url, image)
            except RuntimeError as error:
                found = "gone" if ": 404 " in str(error) else str(error)
            except _ONLY_ERRORS as error:
                found = str(error)
            if found in {"active", "queued", "gone"}:
                return found
            if time.monotonic() > deadline:
                self._oracle.missed(image, f"{found} after {_SETTLED_WITHIN:.0f} s")
                return found
            time.sleep(0.1)


OPERATIONS: Final = (
    Operation("upload", Client.put, weight=3, most=_MOST),
    Operation("push", Client.push, weight=4, most=_MOST),
    Operation("pull", Client.pull, weight=4, fewest=1),
    Operation("download", Client.read, weight=4, fewest=1),
    Operation("delete", Client.delete, weight=3, fewest=3),
    Operation("undelete", Client.undelete, weight=2, fewest=2),
    Operation("coalesce", Client.coalesce, weight=4, fewest=2),
    Operation("forget", Client.forget, weight=3, fewest=_KEPT + 1),
)


def keep(
    verbs: dict[str, tuple[str, ...]], world: World, tally: Tally, dice: random.Random, ended: threading.Event
) -> None:
    """Looks after the data, verb after verb."""
    while not ended.is_set():
        name = (
            min(verbs, key=lambda each: tally.done[each]) if dice.random() < _CATCHES_UP else dice.choice(list(verbs))
        )
        done = world.verbs.run(*verbs[name], "--data", str(world.data), "--quiet", "--json")
        tally.ended(name, "" if done.returncode == 0 else f"exit code {done.returncode}: {alike(done.stderr)}")
        if done.returncode == 0:
            said = json.loads(done.stdout)
            tally.did(name, {what: said[what] for what in _WORK if what in said})


def download(url: str, image: str) -> str:
    """The SHA-256 of an image by curl; RuntimeError if it did not all come."""
    digest = hashlib.sha256()
    with subprocess.Popen(client.get_command(url, image, "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as got:
        assert got.stdout is not None
        assert got.stderr is not None
        while piece := got.stdout.read(MIB):
            digest.update(piece)
        said = got.stderr.read().decode(errors="replace")
    if got.returncode:
        raise RuntimeError(f"curl ended with {got.returncode}: {said}")
    return digest.hexdigest()


def alike(error: str) -> str:
    """The last line of what a program or a server said, without the names, ports and numbers that differ.

    `forget` ends with a sum: of the reasons above it, one that nothing explains, or else the last.
    """
    lines = [line for line in error.strip().splitlines() if line.strip()]
    whys = [line for line in lines if " is not deleted: " in line] or lines[-1:] or [""]
    said = next((why for why in whys if not is_explained(why)), whys[-1])
    said = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32,64}", "ID", said)
    return re.sub(r"\d+", "N", re.sub(r"http://[^/]*/", "/", said))[:160]
