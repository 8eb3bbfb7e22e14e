"""Lists out of 100,000 images of ten properties: any one filter or order, by whoever asks, and pages deep in them."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import sqlite3
import statistics
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlencode

from bench.list_questions import SORT_KEYS, every_question
from bench.many_images import IMAGES, LAB, MIDDLE, SMALL, many_images
from bench.show.registry import Figure, Room, at_most, check, told
from bench.show.server import Server
from httpapi.identity.passwords import hash_of
from httpapi.settings import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from bench.list_questions import Question

BOUNDS: Final = {25: 0.015, 1000: 0.150}  # seconds of a list of so many images, the median
DEEP: Final = 1.5  # times as long as the first page may a page take that is 90 % down the list
IN_SHORT: Final = 10_000  # images
_SLOWER: Final = 8  # times as slow a busy machine may be in the short form
_DEEP_IN_SHORT: Final = 8  # of single answers
_ROUNDS: Final = 7
_PASSWORD: Final = "dry stone"


@check(
    "images-api", "listing", "Lists out of 100,000 images: 25 in 15 ms, 1,000 in 150 ms, any filter, order and page."
)
def listing(room: Room) -> Generator[Figure, None, None]:
    count = IN_SHORT if room.short else IMAGES
    started = time.perf_counter()
    data = shutil.copytree(many_images(room.images, count), room.work / "data")
    yield told(f"making {count} images, or finding them made", f"{time.perf_counter() - started:.1f} s")
    found = _Found.of(data / CATALOG_FILE)
    questions = list(every_question(found.values))
    rounds = 3 if room.short else _ROUNDS
    with Server(data, settings=_users(room.work)) as server:
        clients = [_Client(server.port, user) for user in _USERS]
        slower, deep = (_SLOWER, _DEEP_IN_SHORT) if room.short else (1, DEEP)
        figures = [
            *(
                partial(_slowest, client, limit, questions, bound * slower, rounds)
                for limit, bound in BOUNDS.items()
                for client in clients
            ),
            *(partial(_deepest, client, limit, found, rounds, deep) for limit in BOUNDS for client in clients[:2]),
        ]
        for figure in figures[room.part.number - 1 :: room.part.of]:
            yield figure()


# Who asks, and of which project they are.
_USERS: Final[Mapping[str, tuple[str, str]]] = {
    "admin": ("cloud", "admin"),
    LAB: (LAB, "member"),
    SMALL: (SMALL, "member"),
}


@dataclass(frozen=True, slots=True)
class _Found:
    """What to ask for: values of one image in the middle, and the last ones of nine tenths of each order."""

    values: Mapping[str, str]
    markers: Mapping[tuple[str, str, str], str]  # by user, sort key and direction

    @classmethod
    def of(cls, catalog: Path) -> Self:
        with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            middle = connection.execute(
                "SELECT * FROM images WHERE owner = ? AND os_hidden = 0 AND status = 'active' AND created_at >= ?"
                " ORDER BY created_at LIMIT 1",
                (LAB, int(MIDDLE.timestamp()) * 1_000_000),
            ).fetchone()
            markers = {
                (user, key, direction): _ninth_tenth(connection, project if role != "admin" else None, key, direction)
                for user, (project, role) in _USERS.items()
                for key in SORT_KEYS
                for direction in ("asc", "desc")
            }
        return cls({name: str(middle[name]) for name in middle.keys()}, markers)  # noqa: SIM118 - a Row


def _ninth_tenth(connection: sqlite3.Connection, project: str | None, key: str, direction: str) -> str:
    seen = "1" if project is None else "(owner = :project OR visibility = 'public')"
    order = ", ".join(f"{each} {direction}" for each in dict.fromkeys((key, "created_at", "id")))
    [count] = connection.execute(
        f"SELECT COUNT(*) FROM images WHERE {seen} AND NOT os_hidden", {"project": project}
    ).fetchone()
    chosen = f"SELECT id FROM images WHERE {seen} AND NOT os_hidden ORDER BY {order} LIMIT 1 OFFSET {count * 9 // 10}"
    return str(connection.execute(chosen, {"project": project}).fetchone()[0])


@dataclass(slots=True)
class _Times:
    seconds: list[float] = field(default_factory=list)
    listed: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def _slowest(client: _Client, limit: int, questions: Sequence[Question], bound: float, rounds: int) -> Figure:
    """Each question once a round; the one whose median is the largest."""
    times = client.ask([(*each, ("limit", str(limit))) for each in questions], rounds)
    ordered = sorted(times.items(), key=lambda each: each[1].median, reverse=True)
    over = sum(each.median > bound for each in times.values())
    detail = [
        f"{statistics.median(each.median for each in times.values()) * 1e3:.1f} ms in the middle, {over} over the bound"
    ]
    for asked, each in ordered[: max(4, over)]:
        detail.append(f"{each.median * 1e3:6.1f} ms, {each.listed:4} images: {urlencode(asked[:-1], safe=':,')}")
    what = f"{limit} images, {client.user}: the slowest of {len(questions)} questions"
    return at_most(what, ordered[0][1].median * 1e3, bound * 1e3, "ms", tuple(detail))


def _deepest(client: _Client, limit: int, found: _Found, rounds: int, most: float) -> Figure:
    """First pages and deep ones of each order, by turns; the largest ratio of the two."""
    pairs: dict[str, tuple[Question, Question]] = {}
    for key in SORT_KEYS:
        for direction in ("asc", "desc"):
            first = (("sort", f"{key}:{direction}"), ("limit", str(limit)))
            deep = (*first, ("marker", found.markers[client.user, key, direction]))
            pairs[f"{key}:{direction}"] = first, deep
    times = client.ask([question for pair in pairs.values() for question in pair], rounds)
    ratios = {order: times[deep].median / times[first].median for order, (first, deep) in pairs.items()}
    detail = [
        f"{order}: {times[deep].median * 1e3:.1f} ms / {times[first].median * 1e3:.1f} ms = {ratios[order]:.2f}"
        for order, (first, deep) in sorted(pairs.items(), key=lambda each: ratios[each[0]], reverse=True)[:3]
    ]
    what = f"{limit} images, {client.user}: the page at nine tenths to the first"
    return at_most(what, max(ratios.values()), most, "times", tuple(detail))


class _Client:
    """One user, who asks on one connection."""

    def __init__(self, port: int, user: str) -> None:
        self.user = user
        self._port = port
        login = base64.b64encode(f"{user}:{_PASSWORD}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}

    def ask(self, questions: Sequence[Question], rounds: int) -> dict[Question, _Times]:
        """Every question once a round, and once before, which doesn't count; what each took."""
        times = {question: _Times() for question in questions}
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)) as connection:
            for number in range(rounds + 1):
                for question, kept in times.items():
                    seconds, kept.listed = self._ask(connection, f"/v2/images?{urlencode(question)}")
                    if number:
                        kept.seconds.append(seconds)
        return times

    def _ask(self, connection: http.client.HTTPConnection, target: str) -> tuple[float, int]:
        started = time.perf_counter()
        connection.request("GET", target, headers=self._headers)
        answer = connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise RuntimeError(f"GET {target}: {answer.status} {body.decode(errors='replace')}")
        return seconds, len(json.loads(body)["images"])


def _users(work: Path) -> Mapping[str, object]:
    """The settings of a server that knows the users."""
    passwords, accounts = work / "users", work / "accounts.toml"
    hashed = hash_of(_PASSWORD, cost=4)
    passwords.write_text("".join(f"{user}:{hashed}\n" for user in _USERS))
    accounts.write_text(
        "".join(
            f'[users.{user}]\nproject = "{project}"\nroles = ["{role}"]\n' for user, (project, role) in _USERS.items()
        )
    )
    return {"identity": "basic", "identity_file": passwords, "identity_accounts": accounts}
