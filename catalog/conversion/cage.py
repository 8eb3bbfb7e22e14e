"""One foreign program, run to its end in a cage and a room, and what it ended with.

`walls.py` has the cage's walls. Here is what holds while it runs: a clock, a look at the disk's free space, and a
bound on what it says. However a run ends, nothing of it is left when `run` returns: the process group is killed, the
namespace ends with its first process, and the pipes are closed. If the service itself is killed, the kernel does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from catalog.blocking import to_its_end
from catalog.conversion.walls import ENDED, ENVIRONMENT, Bounds, Walls, walls_of
from catalog.model.errors import ConversionFailed, ConversionUnavailable, StoreFull

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)
_MOST_SAID: Final = 256 * 1024
_LOOKS_SECONDS: Final = 0.5
_LAST_WORDS_SECONDS: Final = 5.0
_SIGNALLED: Final = 128


@dataclass(frozen=True, slots=True)
class CageLimits:
    """What caged programs may take.

    `user`: whom a service that is root runs them as. `memory` is address space in bytes; `cpu_time` and `seconds` bound
    one run. `reserve`: bytes that stay free on the disk.
    """

    user: str = "nobody"
    memory: int = 1 << 30
    cpu_time: int = 6 * 3600
    seconds: float = 24 * 3600
    reserve: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code, or the signal that ended it, else None; and what it said, cut to a bound."""

    code: int
    by: signal.Signals | None
    out: bytes
    err: bytes


class Cage:
    """Runs programs, any number at once; what this machine allows is found out with the first."""

    def __init__(self, limits: CageLimits) -> None:
        self._limits = limits
        self._walls: Walls | None = None

    def walls(self) -> Walls:
        """What this machine allows; some hundredths of a second for the first time. Raises ConversionUnavailable."""
        if self._walls is None:
            self._walls = walls_of(self._limits.user)
            for sentence in self._walls.missing:
                log.warning("%s", sentence)
        return self._walls

    async def known_walls(self) -> Walls:
        """As `walls`, without keeping the loop waiting."""
        return await asyncio.to_thread(self.walls)

    async def run(
        self,
        command: Sequence[str],
        room: Path,
        *,
        file_size: int = 0,
        heard: Callable[[bytes], None] | None = None,
        streams: tuple[int, int] | None = None,
        enters_itself: bool = False,
    ) -> Ended:
        """Run it in the room, and wait for its end; no file that it writes becomes longer than `file_size` bytes.

        `heard` is given what it says on standard output, as it comes. `streams` are open files for its standard input
        and output. Raises ConversionFailed (it took too long), StoreFull, ConversionUnavailable.
        """
        walls = await self.known_walls()
        bounds = Bounds(self._limits.cpu_time, self._limits.memory, file_size)
        self.check_space(room, 0)
        stdin, stdout = streams or (subprocess.DEVNULL, subprocess.PIPE)
        try:
            process = await asyncio.create_subprocess_exec(
                *walls.around(command, bounds, enters_itself=enters_itself),
                cwd=room,
                env=ENVIRONMENT,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ConversionUnavailable(f"{command[0]} cannot be started: {error.strerror}.") from error
        out, err = bytearray(), bytearray()
        ending = asyncio.gather(_hear(process.stdout, out, heard), _hear(process.stderr, err, None), process.wait())
        watch = asyncio.create_task(self._watch(room))
        both: tuple[asyncio.Future[Any], ...] = (ending, watch)
        try:
            await asyncio.wait(both, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            in_time = ending.done()
        finally:
            watch.cancel()
            _kill(process)
            await to_its_end(_last_words(ending, watch))
        if in_time:
            return _ended(process, walls, bytes(out), bytes(err))
        if not watch.cancelled() and (full := watch.exception()) is not None:
            raise full
        raise ConversionFailed(f"The conversion took longer than {self._limits.seconds:g} seconds (convert_seconds).")

    def check_space(self, room: Path, needed: int) -> None:
        """Raise StoreFull if the room's disk has not so many bytes free, and the reserve beside."""
        found = os.statvfs(room)
        if found.f_bavail * found.f_frsize < needed + self._limits.reserve:
            raise StoreFull(
                "The disk on which images are converted has not enough room for this one; make room there, or set "
                "work_dir to a directory on a larger disk."
            )

    async def _watch(self, room: Path) -> None:
        """Raise StoreFull when the disk's room runs out; never ends otherwise."""
        while True:
            await asyncio.sleep(_LOOKS_SECONDS)
            self.check_space(room, 0)


async def _hear(stream: asyncio.StreamReader | None, kept: bytearray, heard: Callable[[bytes], None] | None) -> None:
    """Read a stream to its end; its last bytes are kept."""
    while stream is not None and (piece := await stream.read(_MOST_SAID)):
        if heard is not None:
            heard(piece)
        kept += piece
        del kept[:-_MOST_SAID]


def _kill(process: Process) -> None:
    # Its own group since it began. Once it was waited for, its number may be another's.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _last_words(ending: asyncio.Future[Any], watch: asyncio.Future[Any]) -> None:
    """Wait until all that held the pipes is gone; without namespaces, something might have left the group and stay."""
    await asyncio.wait({ending}, timeout=_LAST_WORDS_SECONDS)
    if not ending.done():
        log.warning("a program that was killed holds on to what it was given; look for processes of the cage's user")
        ending.cancel()
    await asyncio.wait([ending, watch])


def _ended(process: Process, walls: Walls, out: bytes, err: bytes) -> Ended:
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    if walls.alone:
        # What unshare itself ends with says nothing where its child was killed.
        err, _, number = err.rpartition(ENDED)
        code = int(number) if number.strip().isdigit() else _SIGNALLED + signal.SIGKILL
    elif code < 0:
        code = _SIGNALLED - code
    by = signal.Signals(code - _SIGNALLED) if _SIGNALLED < code <= _SIGNALLED + signal.SIGSYS else None
    return Ended(code, by, out, err)
