"""A real server in a process of its own that tests kill, freeze and start again: what Keystone, S3 and Swift share."""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ForeignServer(ABC):
    """Owns the process that a kit's `start` gives it, until left; what the server keeps outlives `kill` and `start`."""

    _process: subprocess.Popen[bytes] | None = None

    def __exit__(self, *_: object) -> None:
        self.kill()

    @abstractmethod
    def start(self) -> None:
        """Serve, on the same port and data as before; returns when it takes requests."""

    def kill(self) -> None:
        """Be gone at once, as by a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Take connections, and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def run_until_ready(self, python: Path, script: Path, room: Path, *words: str) -> None:
        """Run a script that prints `ready` when it serves, and that ends with its standard input, however we end."""
        command = [str(python), "-P", "-W", "ignore", str(script), *words]
        with (room / "stderr.log").open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=room
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != b"ready":
            self.kill()
            said = (room / "stderr.log").read_text()[-2000:]
            raise AssertionError(f"{script.name} did not start (make installs it in {python.parts[-3]}): {said}")
