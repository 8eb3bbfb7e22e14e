"""Work on the data that a server starts as a process of its own: behind all others, and never longer than the server.

Its processor time is not the server's interpreter lock, and the kernel gives it what nobody else wants.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from httpapi import logs
from httpapi.low_priority import give_way

if TYPE_CHECKING:
    from httpapi.settings import Settings

_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def behind_all_others(settings: Settings, name: str) -> None:
    """Give way to all others, end with the parent, and log as a server does, under this name."""
    give_way()
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before it was asked.
        sys.exit(1)
    logs.set_up(level=settings.log_level, form=settings.log_format, name=name)
