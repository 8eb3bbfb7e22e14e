"""A client that asks for the same thing again and again on one connection, and keeps how long each answer took."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from typing import Self
from urllib.parse import urlsplit


class Asking:
    """Asks for `url` in a thread until the block ends, resting `pause` seconds between two answers.

    After the block: `seconds` of each answer in the order they came, and `rate` of answers a second. An answer other
    than 2xx, or none, is raised when the block ends.
    """

    def __init__(self, url: str, pause: float = 0.0) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
        self._target = parts._replace(scheme="", netloc="").geturl()
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self._failure: Exception | None = None
        self._started = self._stopped = 0.0
        self.seconds: list[float] = []

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._connection.close()
        if self._failure and kind is None:
            raise self._failure

    @property
    def rate(self) -> float:
        """Answers a second, up to the end of the last one."""
        return len(self.seconds) / (self._stopped - self._started)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def _loop(self) -> None:
        try:
            while not self._ended.is_set():
                self._ask()
                self._ended.wait(self._pause)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            self._failure = error

    def _ask(self) -> None:
        started = time.perf_counter()
        self._connection.request("GET", self._target)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status // 100 != 2:
            raise RuntimeError(f"GET {self._target}: {answer.status} {body.decode(errors='replace')}")
        self._stopped = time.perf_counter()
        self.seconds.append(self._stopped - started)
