"""One data directory with everything that runs on it: servers, a worker, and the verbs that look after the data."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from bench.places import ROOT, drystone
from bench.show.server import Server, environment, tree

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SERVERS: Final = 2


class Worker:
    """`drystone worker`, to be killed and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        command = [*drystone(), "worker", "--data", str(self.data)]
        with (self.data.parent / f"{self.data.name}-worker.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment({}), stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)


@dataclass(slots=True)
class Verbs:
    """The host verbs that run at this moment."""

    running: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`drystone admin …` to its end, whoever ends it."""
        with subprocess.Popen(
            [*drystone(), "admin", *arguments],
            cwd=ROOT,
            env=environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            with self._lock:
                self.running.add(process.pid)
            try:
                said, complained = process.communicate()
            finally:
                with self._lock:
                    self.running.discard(process.pid)
        return subprocess.CompletedProcess(process.args, process.returncode, said, complained)

    def signal(self, dice: random.Random, number: int) -> int | None:
        """Send one of them a signal; which."""
        with self._lock:
            if not self.running:
                return None
            pid = dice.choice(sorted(self.running))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            return pid

    def go_on(self, pid: int) -> None:
        with self._lock:
            if pid in self.running:
                os.kill(pid, signal.SIGCONT)


class World:
    """Servers and a worker on one data directory; all of them run when the block begins, and none after it."""

    def __init__(self, data: Path, settings: Mapping[str, object]) -> None:
        self.data = data
        self.servers = [Server(data, settings=settings) for _ in range(SERVERS)]
        self.worker = Worker(data)
        self.verbs = Verbs()

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        self.worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        for server in self.servers:
            server.stop()

    def check_running(self) -> None:
        """Whoever is down was killed by the weather: else clients would be told so, and it would pass for a kill."""
        for server in self.servers:
            if server.has_ended:
                raise RuntimeError(f"a server ended by itself:\n{server.last_words()}")
        if self.worker.has_ended:
            raise RuntimeError("the worker ended by itself: its log is beside the data directory")

    def urls(self) -> list[str]:
        return [server.url for server in self.servers]


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process and its children are stopped until the block ends."""
    pids = list(tree(pid))
    _signal(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
