"""`drystone worker` as a process of its own, so that tests can signal and kill it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[2]
_COMMAND = [sys.executable, "-c", "from httpapi.cli.root import main; main()", "worker"]


class WorkerProcess:
    """A worker that takes jobs when entered; killed when left, if it still runs."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.command = [*_COMMAND, "--data", str(data), *arguments]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        assert "works on the jobs of" in self.said, f"no start line: {self.said!r}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
