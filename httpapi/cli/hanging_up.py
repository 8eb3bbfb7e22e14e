"""The terminal goes (SIGHUP): what runs there ends as on Ctrl-C, and does not fail at writing to it meanwhile."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_OUTPUTS: Final = (1, 2)


class Hangup:
    """To be called on SIGHUP: interrupts once. A shell sends it as well as the kernel, and what clears up goes on."""

    def __init__(self, interrupt: Callable[[], object]) -> None:
        self._interrupt = interrupt
        self._terminals = [each for each in _OUTPUTS if os.isatty(each)]
        self._came = False

    def __call__(self, *_: object) -> None:
        """The signal has come."""
        if self._came:
            return
        self._came = True
        for each in self._terminals:
            # One that is gone is a terminal no more, and each line that is written there would be an error.
            if not os.isatty(each):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, each)
                os.close(nowhere)
        self._interrupt()


def is_heeded() -> bool:
    """Not where it is ignored, as by `nohup`."""
    return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
