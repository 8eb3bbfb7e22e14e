"""A slow disk for the programs that are started under it: `shim.c`, built when needed, and the calls it counted."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.places import ROOT

SOURCE: Final = Path(__file__).with_name("shim.c")
_COUNTS: Final = struct.Struct("=4Q")
# Every kind of call once in a plain program: does the shim see them all, and do they take as long as they should?
_PROBE: Final = """
import os, sys, time
path, times = sys.argv[1], int(sys.argv[2])
plain = os.open(path, os.O_WRONLY | os.O_CREAT)
synced = os.open(path, os.O_WRONLY | os.O_DSYNC)
started = time.monotonic()
for _ in range(times):
    os.fsync(plain)
    os.fdatasync(plain)
    os.write(synced, b"x")
    os.pwrite(synced, b"x", 9)
    os.pwritev(synced, [b"x", b"y"], 9)
    os.pwrite(plain, b"x", 9)
print(time.monotonic() - started)
"""


@dataclass(frozen=True, slots=True)
class Calls:
    """How often the disk was waited for; `others` are msync, sync, syncfs and sync_file_range."""

    fsync: int = 0
    fdatasync: int = 0
    synced_writes: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        return self.fsync + self.fdatasync + self.synced_writes + self.others

    def __sub__(self, before: Calls) -> Calls:
        return Calls(
            self.fsync - before.fsync,
            self.fdatasync - before.fdatasync,
            self.synced_writes - before.synced_writes,
            self.others - before.others,
        )

    def __str__(self) -> str:
        told = f"{self.fsync} fsync, {self.fdatasync} fdatasync, {self.synced_writes} O_DSYNC writes"
        return f"{told}, {self.others} others" if self.others else told


class SlowDisk:
    """The shim with a delay in seconds and a file of counters in `room`; 0 seconds only count."""

    def __init__(self, room: Path, delay: float) -> None:
        self.delay = delay
        self._library = build(room)
        self._counts = room / f"calls-{delay}"
        self._counts.write_bytes(bytes(_COUNTS.size))

    def command(self, *command: str) -> list[str]:
        """The command under this disk. By env(1), so that the process that is started is the program itself."""
        return [
            "env",
            f"LD_PRELOAD={self._library}",
            f"SLOW_DISK_COUNTS={self._counts}",
            f"SLOW_DISK_DELAY_US={self.delay * 1e6:.0f}",
            *command,
        ]

    def calls(self) -> Calls:
        """What all processes under it have called so far."""
        return Calls(*_COUNTS.unpack(self._counts.read_bytes()))

    def probe(self, times: int = 20) -> tuple[Calls, float]:
        """The calls and the seconds of a program that syncs in five ways, `times` times each, and writes plainly."""
        before = self.calls()
        file = self._counts.with_name("probed")
        command = self.command(sys.executable, "-I", "-c", _PROBE, str(file), str(times))
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return self.calls() - before, float(told)


def build(room: Path) -> Path:
    """The shared library, compiled into `room`; RuntimeError with what the compiler said, or that there is none."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("the slow disk needs a C compiler: install gcc")
    library = room / "slow-disk.so"
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{SOURCE.name} does not compile:\n{done.stderr}")
    return library
