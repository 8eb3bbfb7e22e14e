"""Work that is stopped at step 1, 2, 3 … until it passes; after each stop somebody looks at everything that is left.

A crash program says what is prepared, what is stopped and what must hold, and gives that to `main`. It runs apart from
pytest, since it forks: `run_stopped` starts it and reads its lines, one of JSON a stop.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

# What each forked process would import for itself.
import sqlalchemy.dialects.sqlite  # noqa: F401

from blockstore import clock
from blockstore.claims import FRESH
from tests.kit.faulty_disk import STOPPED, StoppingDisk
from tests.kit.image_service import image_service

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.kit.image_service import ImageService

LAST_STEP = 400
HELD = b"."
ROOT = Path(__file__).parents[2]
MODES = ("kill", "power")
"""What the kernel has is kept; or what was not synced is forgotten."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the stopped work has acknowledged: words in a file."""

    path: Path

    def tell(self, word: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{word}\n")

    def words(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").split() if self.path.exists() else []


@dataclass(frozen=True, slots=True)
class Stop:
    """One run: where it was to be stopped and whether it was, what it had acknowledged, and whether all held then."""

    step: int
    stopped: bool
    said: list[str]
    held: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """`prepare` makes a data directory and gives ids; `work` is stopped by its disk; `look` says what must hold."""

    prepare: Callable[[Path], list[str]]
    work: Callable[[Path, list[str], StoppingDisk, Said], None]
    look: Callable[[Path, list[str], list[str]], None]

    def stop_each(self, room: Path, mode: str, first: int, stride: int) -> int:
        """Stop the work at `first` and each `stride` steps later, until it passes; 0 if all held."""
        origin, root, names, said = room / "origin", room / "data", room / "names", Said(room / "said")
        assert _in_child(lambda: names.write_text(json.dumps(self.prepare(origin)), encoding="utf-8")) == 0
        ids: list[str] = json.loads(names.read_text(encoding="utf-8"))
        with _Looker(partial(self.look, root, ids)) as looker:
            for step in range(first, LAST_STEP, stride):
                shutil.rmtree(root, ignore_errors=True)
                shutil.copytree(origin, root)
                said.path.unlink(missing_ok=True)
                disk = StoppingDisk(step, power_cut=mode == "power")
                code = _in_child(partial(self.work, root, ids, disk, said))
                held = looker.holds(said.words())
                print(json.dumps(asdict(Stop(step, code == STOPPED, said.words(), held))), flush=True)
                if not held or code not in {0, STOPPED}:
                    return 1
                if code == 0:
                    return 0
        return 2


class _Looker:
    """A forked process that looks after each stop. It is one for all, so that it is no beginner each time."""

    def __init__(self, look: Callable[[list[str]], None]) -> None:
        asked, ask = os.pipe()
        told, tell = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(ask)
            os.close(told)
            self._serve(look, asked, tell)
        os.close(asked)
        os.close(tell)
        self._ask, self._told = ask, told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ask)
        os.waitpid(self._pid, 0)
        os.close(self._told)

    def holds(self, said: list[str]) -> bool:
        """Whether all holds that must, after these words."""
        os.write(self._ask, f"{json.dumps(said)}\n".encode())
        # Nothing, if it died of what it saw.
        return os.read(self._told, 1) == HELD

    @staticmethod
    def _serve(look: Callable[[list[str]], None], asked: int, tell: int) -> NoReturn:
        # Whoever comes within seconds waits a moment for the dead one, whose claims on blocks still count.
        clock.monotonic = lambda: time.monotonic() + FRESH
        with os.fdopen(asked, encoding="utf-8") as lines:
            for line in lines:
                try:
                    look(json.loads(line))
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os.write(tell, HELD)
        os._exit(0)


def main(subject: Subject) -> int:
    """The program of a subject: `DIR MODE FIRST STRIDE` are its last arguments."""
    room, mode, first, stride = sys.argv[-4:]
    return subject.stop_each(Path(room), mode, int(first), int(stride))


def run_stopped(program: str, room: Path, mode: str, *arguments: str, first: int = 1, stride: int = 1) -> list[Stop]:
    """Run `tests.crashes.PROGRAM` to its end; all must have held, and the last run was not stopped."""
    command = [sys.executable, "-m", f"tests.crashes.{program}", *arguments, str(room), mode, str(first), str(stride)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    stops = [Stop(**json.loads(line)) for line in run.stdout.splitlines() if line.startswith("{")]
    assert all(stop.held for stop in stops)
    assert not stops[-1].stopped, "the last run went through"
    return stops


def serving(
    root: Path, work: Callable[[ImageService], Coroutine[Any, Any, None]], disk: StoppingDisk | None = None
) -> None:
    """Run `work` on the services over a data directory; with a disk that stops, each catalog commit is two steps."""

    async def run() -> None:
        with image_service(root, disk=disk) as service:
            if disk is not None:
                _count_commits(service, disk)
            await work(service)

    asyncio.run(run())


def _count_commits(service: ImageService, disk: StoppingDisk) -> None:
    write = service.services.database.write

    async def stepping(step):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - the Protocol has the types
        disk.step("before a catalog commit")
        result = await write(step)
        disk.step("after a catalog commit")
        return result

    service.services.database.write = stepping  # type: ignore[method-assign] # a step on both sides of each commit


def _in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process: it dies without taking us along; gives its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
