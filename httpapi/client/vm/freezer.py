"""Freezes a guest's file systems and thaws them: a program of its own, started by `freezing.py`.

    freezer.py SECONDS agent SOCKET | SECONDS virsh ARGUMENT...

Prints `frozen N`, or why not; waits for the end of standard input, or for so many seconds; thaws; prints `thawed`, or
what went wrong. What begins with `STUCK` says that the guest may stay frozen, and what to do.
"""

from __future__ import annotations

import select
import signal
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, Protocol

from httpapi.client.vm.agent import Agent
from httpapi.client.vm.machine import STUCK, MachineRefused, Unanswered
from httpapi.client.vm.virsh import VirshFreezer

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIES: Final = 3
# A freeze that nobody waits for any more goes on in the guest, and before its end nothing can be thawed.
_PENDING_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 1.0


class Freezer(Protocol):
    """Who can freeze; raises MachineRefused."""

    by_hand: str
    """A command with which a person thaws."""

    def freeze(self) -> int:
        """How many file systems were frozen. Unanswered if that is not known, and they may be later."""

    def thaw(self) -> None:
        """They go on; nothing to do if they do."""

    def close(self) -> None:
        """Nothing more is asked."""


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
    with closing(freezer):
        _hold(freezer, seconds)


def _hold(freezer: Freezer, seconds: str) -> None:
    try:
        _say(f"frozen {freezer.freeze()}")
    except Unanswered as refused:
        failure = _thaw(freezer, pending=True)
        _say(str(refused) if failure is None else _stuck(freezer, f"{refused}, and thawing fails: {failure}"))
        return
    except MachineRefused as refused:
        # Some may be frozen all the same. Where nobody freezes nobody thaws either, and that is no news.
        _thaw(freezer)
        _say(str(refused))
        return
    in_time = bool(select.select([sys.stdin], [], [], float(seconds))[0])
    failure = _thaw(freezer)
    if failure is not None:
        _say(_stuck(freezer, failure))
    else:
        _say("thawed" if in_time else f"they were thawed after {seconds} s, before all was done")


def _thaw(freezer: Freezer, *, pending: bool = False) -> str | None:
    """Why they are not thawed; None if they are.

    While a freeze may be `pending`, or nobody answers, it is tried on for minutes: nobody else will.
    """
    deadline, tries = time.monotonic() + _PENDING_SECONDS, 0
    while True:
        tries += 1
        try:
            freezer.thaw()
        except MachineRefused as refused:
            goes_on = (pending or isinstance(refused, Unanswered)) and time.monotonic() < deadline
            if tries >= _TRIES and not goes_on:
                return str(refused)
            if goes_on:
                time.sleep(_PAUSE_SECONDS)
        else:
            return None


def _stuck(freezer: Freezer, why: str) -> str:
    return f"{STUCK}{why}. THE GUEST MAY STAY FROZEN: thaw it with `{freezer.by_hand}`, or reset it"


def _say(sentence: str) -> None:
    line = sentence.replace("\n", " ") + "\n"
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except OSError:
        # Who started this is gone.
        sys.stdout = sys.stderr
        if sentence.startswith(STUCK):
            with suppress(OSError):
                sys.stderr.write(line)


if __name__ == "__main__":
    main(sys.argv[1:])
