"""Freezes a guest's file systems and thaws them: a program of its own, started by `freezing.py`.

    freezer.py SECONDS agent SOCKET | SECONDS virsh ARGUMENT...

Prints `frozen N`, or why not; waits for the end of standard input, or for so many seconds; thaws; prints `thawed`, or
what went wrong.
"""

from __future__ import annotations

import select
import signal
import sys
from typing import TYPE_CHECKING, Final, Protocol

from httpapi.client.vm.agent import Agent
from httpapi.client.vm.machine import MachineRefused
from httpapi.client.vm.virsh import VirshFreezer

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIES: Final = 3


class Freezer(Protocol):
    """Who can freeze; raises MachineRefused."""

    def freeze(self) -> int:
        """How many file systems were frozen."""

    def thaw(self) -> None:
        """They go on; nothing to do if they do."""


def main(arguments: Sequence[str]) -> None:
    """The program."""
    seconds, how, *rest = arguments
    # It ends when its work is done, whatever ends those around it.
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    try:
        freezer: Freezer = Agent(rest[0]) if how == "agent" else VirshFreezer(rest)
    except MachineRefused as refused:
        _say(str(refused))
        return
    try:
        _say(f"frozen {freezer.freeze()}")
    except MachineRefused as refused:
        # Some may be frozen all the same.
        _thaw(freezer)
        _say(str(refused))
        return
    in_time = bool(select.select([sys.stdin], [], [], float(seconds))[0])
    failure = _thaw(freezer)
    _say(failure or ("thawed" if in_time else f"they were thawed after {seconds} s, before all was done"))


def _thaw(freezer: Freezer) -> str | None:
    """Why they are not thawed; None if they are."""
    failure = None
    for _ in range(_TRIES):
        try:
            freezer.thaw()
        except MachineRefused as refused:
            failure = str(refused)
        else:
            return None
    return failure


def _say(sentence: str) -> None:
    # Who started this may be gone.
    try:
        sys.stdout.write(sentence.replace("\n", " ") + "\n")
        sys.stdout.flush()
    except OSError:
        sys.stdout = sys.stderr


if __name__ == "__main__":
    main(sys.argv[1:])
