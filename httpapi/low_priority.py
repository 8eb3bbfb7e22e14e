"""Giving way: a process whose work may wait takes what processor time and disk the others leave."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from typing import Final

_SET_IO_PRIORITY: Final = {"x86_64": 251, "aarch64": 30}
"""The number of the system call ioprio_set, which the C library has no function for."""
_THIS_PROCESS: Final = 1
_IDLE_CLASS: Final = 3 << 13


def give_way() -> None:
    """From now on, for this process and all of its threads; what the system does not allow is left as it is."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 19)
    number = _SET_IO_PRIORITY.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _THIS_PROCESS, 0, _IDLE_CLASS)
