"""Work on the data that a server starts as a process of its own: behind all others, and never longer than the server.

Its processor time is not the server's interpreter lock, and the kernel gives it what nobody else wants.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING, Final

from httpapi import logs

if TYPE_CHECKING:
    from httpapi.settings import Settings

_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
"""The number of ioprio_set(2), for which the C library has no function."""
_WHO_PROCESS: Final = 1
_IDLE: Final = 3 << 13
_PR_SET_PDEATHSIG: Final = 1
LOWEST: Final = 19


def behind_all_others(settings: Settings) -> None:
    """Make this process the last that gets processor and disk, end it with its parent, and log as a server does."""
    os.nice(LOWEST)
    libc = ctypes.CDLL(None, use_errno=True)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        # Refused in some containers: then it is as others are.
        libc.syscall(number, _WHO_PROCESS, 0, _IDLE)
    parent = os.getppid()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    logs.set_up(level=settings.log_level, form=settings.log_format, name="scrub")
