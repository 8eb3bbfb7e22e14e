"""Where this process keeps its figures: in memory, or beside those of the other workers.

With several workers each keeps its figures in mapped files of one directory, under its own number and not under its
process id: a worker that is started again goes on counting where the dead one stopped. So no counter ever goes back,
and there are never more files than workers times kinds. `settle` must be called before `instruments.py` is imported,
in a process whose environment names the directory as DIRECTORY_VARIABLE: the library reads it there. The library itself
is loaded late: the supervisor keeps no figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_ROSTER: Final = "workers.json"
SUPERVISOR: Final = "supervisor"


@dataclass(frozen=True, slots=True)
class Place:
    """Worker `number` of `of`, counted from 1; `directory` is None where this process is the only one."""

    number: int = 1
    of: int = 1
    directory: Path | None = None

    def __str__(self) -> str:
        return f"worker {self.number}/{self.of}" if self.of > 1 else ""


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the service, as the roster has it: its id, and how often its like was started."""

    pid: int
    starts: int


ALONE: Final = Place()


def settle(place: Place) -> None:
    """From now on this process is that worker; before any instrument is made."""
    from prometheus_client import values

    if place.directory is not None:
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: place.number)  # type: ignore[no-untyped-call]  # the library's


def forget(number: int, directory: Path) -> None:
    """The worker is dead: what it had in hand counts no more, what it has done does. For the supervisor."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(number, str(directory))  # type: ignore[no-untyped-call]  # the library's


def write_roster(directory: Path, members: dict[str, Member]) -> None:
    """Tell which processes there are, by their worker's number or SUPERVISOR; seen whole or not at all."""
    document = {name: [member.pid, member.starts] for name, member in members.items()}
    hidden = directory / f".{_ROSTER}"
    hidden.write_text(json.dumps(document), encoding="utf-8")
    hidden.replace(directory / _ROSTER)


def read_roster(directory: Path) -> dict[str, Member]:
    """Which processes there are; nobody when the supervisor has not told or has taken the directory away."""
    try:
        document = json.loads((directory / _ROSTER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: Member(pid, starts) for name, (pid, starts) in document.items()}
