"""A real `drystone serve` in a process of its own, to be killed, restarted and watched."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.places import ROOT, drystone, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_READY_WITHIN = 30.0
_STOP_WITHIN = 60.0


class Server:
    """A server on a data directory and a free loopback port; `settings` by the names that httpapi/README.md lists.

    `prefix` goes before the command, and before what asks whether it answers: a network namespace, say.
    """

    def __init__(
        self,
        data: Path,
        *,
        settings: Mapping[str, object] | None = None,
        command: Sequence[str] = (),
        cwd: Path = ROOT,
        prefix: Sequence[str] = (),
    ) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / f"{data.name}-{self.port}.log"
        listen = f"127.0.0.1:{self.port}"
        self._prefix = prefix
        self._command = [*prefix, *(command or drystone()), "serve", "--data", str(data), "--listen", listen]
        self._environment = environment(
            {f"DRYSTONE_{key.upper()}": str(value) for key, value in (settings or {}).items()}
        )
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it was started and is not there any more."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Starts it and returns when all of it answers; RuntimeError with the end of its log if it doesn't."""
        with self.log.open("ab") as log:
            begins = log.tell()
            self._process = subprocess.Popen(
                self._command, cwd=self._cwd, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _READY_WITHIN
        while not (self._has_announced(begins) and self._answers()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not start: {' '.join(self._command)}\n{self.last_words()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, as an init system would; SIGKILL if that doesn't end it in a minute."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9 of the server and every process that it started."""
        if self._process is not None:
            for pid in tree(self._process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._process.wait()

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _has_announced(self, begins: int) -> bool:
        """Whether its log says that it serves: of several workers the first answers while others still start."""
        with self.log.open("rb") as log:
            log.seek(begins)
            return any(line.startswith(b"Drystone serves ") for line in log)

    def _answers(self) -> bool:
        if self._prefix:
            asking = [*self._prefix, "curl", "--silent", "--fail", "--output", "/dev/null", f"{self.url}/versions"]
            return subprocess.run(asking, check=False).returncode == 0
        try:
            with urllib.request.urlopen(f"{self.url}/versions", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


class Memory:
    """Samples RssAnon + RssShmem, summed over a process and its descendants, ten times a second; sizes in bytes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._failed: Exception | None = None
        self.samples: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failed is not None:
            raise RuntimeError("the memory was not watched to the end") from self._failed

    @property
    def peak(self) -> int:
        return max(self.samples, default=0)

    def _watch(self) -> None:
        try:
            while not self._ended.wait(0.1):
                self.samples.append(sum(own_memory(pid) for pid in tree(self._pid)))
        except Exception as error:  # noqa: BLE001 - told by whoever asked for the watch
            self._failed = error


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would change Drystone or point a client elsewhere, and with `extra`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DRYSTONE_", "OS_"))}
    return {**kept, **extra}


def own_memory(pid: int) -> int:
    """RssAnon + RssShmem of one process in bytes; 0 if it is gone. Pages of mapped files are not its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return sum(int(fields[key].split()[0]) * 1024 for key in ("RssAnon", "RssShmem") if key in fields)


def tree(pid: int) -> Iterator[int]:
    """The process and all its descendants."""
    yield pid
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for task in tasks:
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            yield from tree(int(child))
