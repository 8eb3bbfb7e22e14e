"""Who holds the index's write lock, as far as this machine lets us know.

LMDB's lock is a mutex in the shared memory of `lock.mdb`, and Linux keeps in it the number of the thread that holds
it: the low 30 bits of its first word, and once more as its owner. Where the mutex stands in the file is the library's
own matter (it is behind the first cache line in LMDB 0.9), so what is read there counts only if both numbers agree and
the thread is one of a process that has this data directory open. Without an answer, the processes that could hold it
are named, a stopped one first: it is what usually holds a lock for long.
"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blockstore.leases.flock import holder, live_files

if TYPE_CHECKING:
    from collections.abc import Iterable

_MUTEX: Final = 64
_WORDS: Final = struct.Struct("<IiI")  # lock word, count, owner: the beginning of a pthread_mutex_t
_THREAD: Final = 0x3FFFFFFF
_STOPPED: Final = frozenset("Tt")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that has the data directory open: its number, what for, and its state's letter as in proc(5)."""

    pid: int
    purpose: str
    state: str

    @property
    def is_stopped(self) -> bool:
        """Whether a signal or a debugger has stopped it: it goes on only when it is told to."""
        return self.state in _STOPPED

    def __str__(self) -> str:
        return f"process {self.pid} ({self.purpose}{', stopped' if self.is_stopped else ''})"


def processes(folder: Path) -> list[Process]:
    """Every process that holds a lock file in `folder`, this one included."""
    found = []
    for path in live_files(folder):
        number, _, purpose = holder(path).partition(" ")
        if number.isdigit():
            found.append(Process(int(number), purpose or "unknown", _state_of(int(number))))
    return found


def write_lock_holders(lock_file: Path, others: Iterable[Process]) -> list[Process]:
    """Of these processes the one that holds the write lock; else the stopped ones, if there are any; else all."""
    known = list(others)
    thread = _owner(lock_file)
    return (
        [process for process in known if thread is not None and _has_thread(process.pid, thread)]
        or [process for process in known if process.is_stopped]
        or known
    )


def _owner(lock_file: Path) -> int | None:
    try:
        with lock_file.open("rb") as file:
            word, _, owner = _WORDS.unpack(os.pread(file.fileno(), _WORDS.size, _MUTEX))
    except (OSError, struct.error):
        return None
    return owner if owner and word & _THREAD == owner else None


def _has_thread(pid: int, thread: int) -> bool:
    return Path(f"/proc/{pid}/task/{thread}").exists()


def _state_of(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        # The name before it may hold spaces and brackets of its own.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][0]
    return "?"
