"""What the time of a request tells about blocks that another project holds: the residual of silent deduplication."""

from __future__ import annotations

import base64
import http.client
import json
import random
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bench import count
from bench.images import compressible, compressible_image
from bench.places import drystone
from bench.show.registry import Figure, Room, check, holds, told
from bench.show.server import Server
from blockstore import frames
from blockstore.digest import digest
from blockstore.packs.pack_format import make_entry
from httpapi.wire.block_stream import MEDIA_TYPE, block_head

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

REQUESTS, _IN_SHORT = 200, 20  # of each kind
LENGTHS = (1, 16)  # blocks in a request
_WARM = 5  # requests of each kind before those that count
_HELD, _OWN = 1, 2  # seeds of what the other project has, and of what nobody has
_OCTETS = {"Content-Type": "application/octet-stream"}
_EACH_OWN: Final = {"date", "x-openstack-request-id"}
"""Headers that differ between any two answers."""


@check(
    "increments",
    "residual",
    "Nothing but time differs by whether another project holds the bytes; how much time, is told.",
)
def residual(room: Room) -> Generator[Figure, None, None]:
    wanted = _IN_SHORT if room.short else REQUESTS
    blocks = sum(LENGTHS) * (wanted + _WARM)
    theirs = room.work / "theirs.img"
    compressible_image(theirs, blocks * count.BLOCK, _HELD)
    settings = {"identity": "basic", "identity_file": _users(room.work)}
    with Server(room.work / "data", settings=settings) as server:
        _User(server.port, "bob").image(theirs.read_bytes())
        ways: dict[str, type[_Sessions | _Puts]] = {"delta PUT": _Sessions, "PUT of an image": _Puts}
        for way, sender in ways.items():
            for length in LENGTHS:
                # What was sent counts as held from then on, so a way sends blocks of its own.
                own = _blocks(_OWN + list(ways).index(way) * len(LENGTHS) + LENGTHS.index(length), length)
                held = _blocks(_HELD, length)
                send = sender(_User(server.port, "ann"), length * 2 * (wanted + _WARM))
                yield from _Both(send, held, own).figures(f"{way}, {_number(length)}", wanted)


@dataclass(slots=True)
class _Answers:
    """What came back: how long each request took, and everything else, as a set."""

    seconds: list[float] = field(default_factory=list)
    said: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Both:
    """Blocks that the other project holds and blocks that nobody holds, sent by turns in a random order."""

    sender: _Sessions | _Puts
    held: Iterator[list[bytes]]
    own: Iterator[list[bytes]]

    def figures(self, what: str, wanted: int) -> Iterator[Figure]:
        dice, held, own = random.Random(what), _Answers(), _Answers()
        for number in range(wanted + _WARM):
            pair = [(held, next(self.held)), (own, next(self.own))]
            dice.shuffle(pair)
            for answers, blocks in pair:
                seconds, said = self.sender.send(blocks)
                if number >= _WARM:
                    answers.seconds.append(seconds)
                    answers.said.add(said)
        medians = [statistics.median(each.seconds) * 1e3 for each in (held, own)]
        chance = _told_apart(held.seconds, own.seconds)
        detail = (
            f"medians {medians[0]:.2f} ms held by another project, {medians[1]:.2f} ms held by nobody, {wanted} each",
            f"tenths {_tenths(held.seconds)} and {_tenths(own.seconds)} ms",
            f"one request of each tells which is which with a chance of {chance:.2f} (AUC; 0.5 is a guess)",
        )
        yield told(f"{what}: new blocks take longer by", f"{medians[1] - medians[0]:.2f} ms", detail)
        same = held.said == own.said and len(held.said) == 1
        yield holds(f"{what}: status, headers and body are the same", same, tuple(sorted(held.said | own.said))[:4])


class _User:
    """A member of a project of their own, on one connection."""

    def __init__(self, port: int, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._login = {"Authorization": "Basic " + base64.b64encode(f"{name}:{name}".encode()).decode()}

    def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[float, int, str, bytes]:
        """Seconds, status, the headers that tell something, body."""
        self._connection.connect()
        started = time.perf_counter()
        self._connection.request(method, path, body, {**headers, **self._login})
        answer = self._connection.getresponse()
        data = answer.read()
        seconds = time.perf_counter() - started
        kept = [(key.lower(), value) for key, value in answer.getheaders() if key.lower() not in _EACH_OWN]
        self._connection.close()
        return seconds, answer.status, str(sorted(kept)), data

    def make(self, path: str, document: object) -> Any:  # noqa: ANN401 - JSON
        _, status, _, data = self.ask("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})
        if status != 201:
            raise RuntimeError(f"POST {path}: {status} {data.decode(errors='replace')}")
        return json.loads(data)

    def new_image(self) -> str:
        return str(self.make("/v2/images", {"disk_format": "raw", "container_format": "bare"})["id"])

    def image(self, data: bytes) -> None:
        _, status, _, said = self.ask("PUT", f"/v2/images/{self.new_image()}/file", data, _OCTETS)
        if status != 204:
            raise RuntimeError(f"the upload was answered {status} {said.decode(errors='replace')}")


class _Sessions:
    """Blocks by number, to one delta session."""

    def __init__(self, user: _User, blocks: int) -> None:
        self._user = user
        image = user.new_image()
        asked = {"size": blocks * count.BLOCK, "block_size": count.BLOCK}
        self._path = f"/v2/images/{image}/deltas/{user.make(f'/v2/images/{image}/deltas', asked)['id']}/blocks"
        self._next = 0

    def send(self, blocks: list[bytes]) -> tuple[float, str]:
        body = b""
        for block in blocks:
            entry = make_entry(digest(block), len(block), frames.compress(block))
            sent = entry.header + bytes(entry.data)
            body += block_head(self._next, len(sent)) + sent
            self._next += 1
        seconds, *said = self._user.ask("PUT", self._path, body, {"Content-Type": MEDIA_TYPE})
        return seconds, str(said)


class _Puts:
    """An image each."""

    def __init__(self, user: _User, _blocks: int) -> None:
        self._user = user

    def send(self, blocks: list[bytes]) -> tuple[float, str]:
        path = f"/v2/images/{self._user.new_image()}/file"
        seconds, *said = self._user.ask("PUT", path, b"".join(blocks), _OCTETS)
        return seconds, str(said)


def _users(work: Path) -> Path:
    """Ann and Bob, each in a project of their own."""
    file = work / "htpasswd"
    for name, project in (("ann", "stone"), ("bob", "wood")):
        add = [*drystone(), "user", "add", name, "--file", str(file), "--project", project, "--password-stdin"]
        subprocess.run(add, input=name.encode(), check=True, capture_output=True)
    return file


def _blocks(seed: int, length: int) -> Iterator[list[bytes]]:
    """Blocks by so many, without end."""
    kept: list[bytes] = []
    for piece in compressible(1 << 40, seed):
        kept += [bytes(piece[at : at + count.BLOCK]) for at in range(0, len(piece), count.BLOCK)]
        while len(kept) >= length:
            yield kept[:length]
            kept = kept[length:]


def _told_apart(less: list[float], more: list[float]) -> float:
    """The chance that one of `more` is the larger of two, one of each."""
    return statistics.mean((b > a) + (b == a) / 2 for a in less for b in more)


def _tenths(seconds: list[float]) -> str:
    tenths = statistics.quantiles(seconds, n=10)
    return f"{tenths[0] * 1e3:.2f} to {tenths[-1] * 1e3:.2f}"


def _number(length: int) -> str:
    return "1 block" if length == 1 else f"{length} blocks"
