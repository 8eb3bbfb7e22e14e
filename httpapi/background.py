"""Host verbs that a server starts as processes of their own: behind all others, and never longer than the server.

Their processor time is not the server's interpreter lock, and the kernel gives them what nobody else wants. Both ends
are here: `run_verb` is the server's, `behind_all_others` what the verb does first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi import logs
from httpapi.low_priority import give_way
from httpapi.settings import child_environment

if TYPE_CHECKING:
    from httpapi.settings import Settings

AWAITS: Final = 3
"""The exit code of `admin gc` when it waited for a writer in vain."""
END_SECONDS: Final = 5.0
_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a verb ended with: its exit code, and what it said on standard output."""

    code: int
    out: bytes


async def run_verb(settings: Settings, verb: str, *options: str) -> Ended:
    """`drystone admin VERB` on the server's data, to its end. What goes wrong it says in the server's log.

    It knows no file of settings but what the environment names, so `options` tell it all that matters. Cancelled, this
    ends the process.
    """
    log = {"DRYSTONE_LOG_LEVEL": settings.log_level, "DRYSTONE_LOG_FORMAT": settings.log_format}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "httpapi", "admin", verb, "--background"),
        *("--data", str(settings.data.absolute()), *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=child_environment() | log,
        # Ctrl-C is the server's.
        process_group=0,
    )
    try:
        out, _ = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await _ended(process)
        raise
    assert process.returncode is not None
    return Ended(process.returncode, out)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for a process that was told to end; one that reads from a dead disk is killed."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()


def behind_all_others(settings: Settings, name: str) -> None:
    """Give way to all others, end with the parent, and log as a server does, under this name."""
    give_way()
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before it was asked.
        sys.exit(1)
    logs.set_up(level=settings.log_level, form=settings.log_format, name=name)
