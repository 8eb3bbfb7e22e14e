"""A guest's file systems stand still around a point in time, and go on whatever happens.

Who freezes is a process of its own, `freezer.py`: it thaws as soon as it is told to, or nobody holds the other end of
its pipe any more, or after its time. So a backup that is killed, stopped or hangs leaves no guest frozen.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from httpapi.client.vm.machine import STUCK, MachineRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST: Final = 10.0
"""Seconds for which a guest is frozen at most."""
_END_SECONDS: Final = 60.0
_FROZEN, _THAWED = "frozen ", "thawed"
_PROGRAM: Final = ("-P", "-m", "httpapi.client.vm.freezer")


@contextmanager
def held_still(freezer: Sequence[str] | None, *, wanted: bool | None) -> Iterator[int | None]:
    """Gives how many file systems are frozen while inside, None if none could be.

    `freezer` are the arguments of `freezer.py`, None where there is no agent to ask. MachineRefused if they are
    `wanted` and are not frozen, or were not until the end of this; where nothing is wanted either way (None), what
    can't be frozen is not. A guest that may stay frozen is MachineRefused whatever is wanted: nobody else would tell.
    """
    if wanted is False or (freezer is None and wanted is None):
        yield None
        return
    if freezer is None:
        raise MachineRefused("file systems are frozen by the guest's agent: name its socket with --agent")
    command = [sys.executable, *_PROGRAM, str(LONGEST), *freezer]
    # Ctrl-C is sent to a terminal's whole group: not to this one.
    process = subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = ended = ""
    try:
        said = process.stdout.readline().strip()
        count = int(said.removeprefix(_FROZEN)) if said.startswith(_FROZEN) else None
        if count is None and wanted:
            raise MachineRefused(f"the file systems can't be frozen: {said or 'the guest agent does not answer'}")
        yield count
    finally:
        process.stdin.close()
        ended = process.stdout.readline().strip()
        process.stdout.close()
        process.wait(_END_SECONDS)
        for each in (said, ended):
            if each.startswith(STUCK):
                # It counts more than whatever else went wrong, or right.
                raise MachineRefused(each.removeprefix(STUCK))
    if count is not None and ended != _THAWED:
        raise MachineRefused(
            f"the file systems were not frozen until the end: {ended or 'the guest agent is gone'}; try again, or back "
            "up without (--no-freeze)"
        )
