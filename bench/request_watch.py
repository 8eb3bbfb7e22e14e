"""Which requests pass a counting proxy and how far they are, so that something can happen at a moment of one."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass(frozen=True, slots=True)
class Moment:
    """When so much has passed of the requests of one kind, which is a method and the end of a path: `PUT blocks`.

    `whole` requests and `up` bytes of them have gone on to the server; `down` bytes of what answers them would have
    come, and what completes them is held back.
    """

    kind: str
    whole: int = 0
    up: int = 0
    down: int = 0


@dataclass(slots=True)
class _Connection:
    kind: str = ""
    head: bytearray = field(default_factory=bytearray)
    left: int = 0  # bytes of a body


class RequestWatch:
    """For a CountingProxy. `whole`, `up` and `down` count by kind, since `begin`."""

    def __init__(self) -> None:
        self.whole: Counter[str] = Counter()
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()
        self._connections: dict[int, _Connection] = {}
        self._moment: Moment | None = None
        self._act: Callable[[], None] | None = None
        self._turn = threading.Lock()

    def begin(self, moment: Moment | None = None, act: Callable[[], None] | None = None) -> None:
        """Counts from zero; `act` is called once, at the moment, and nothing else passes meanwhile."""
        with self._turn:
            for each in (self.whole, self.up, self.down):
                each.clear()
            self._moment, self._act = moment, act

    def asked(self, connection: int, data: bytes) -> None:
        """Before it is handed on to the server; `look` comes afterwards."""
        with self._turn:
            self._read(self._connections.setdefault(connection, _Connection()), data)

    def answered(self, connection: int, data: bytes) -> None:
        """Before it is handed on to the client."""
        with self._turn:
            self.down[self._connections.setdefault(connection, _Connection()).kind] += len(data)
            self._look()

    def look(self) -> None:
        """Whether the moment has come."""
        with self._turn:
            self._look()

    def _look(self) -> None:
        if (wanted := self._moment) is None:
            return
        seen = (self.whole[wanted.kind], self.up[wanted.kind], self.down[wanted.kind])
        if all(have >= least for have, least in zip(seen, (wanted.whole, wanted.up, wanted.down), strict=True)):
            self._moment = None
            assert self._act is not None
            self._act()

    def _read(self, state: _Connection, data: bytes) -> None:
        """Heads and bodies of requests, one after another; each has a Content-Length or no body."""
        while data:
            if not state.left:
                state.head += data
                head, end, data = bytes(state.head).partition(b"\r\n\r\n")
                if not end:
                    return
                state.head.clear()
                state.kind = _kind(head)
                length = _LENGTH.search(head)
                state.left = int(length[1]) if length else 0
                self.up[state.kind] += len(head) + len(end)
            body, data = data[: state.left], data[state.left :]
            state.left -= len(body)
            self.up[state.kind] += len(body)
            self.whole[state.kind] += not state.left


def _kind(head: bytes) -> str:
    method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return f"{method} {path.partition('?')[0].rpartition('/')[2]}"
