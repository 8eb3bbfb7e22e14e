"""libvirt by its own program, `virsh`: the one place that starts it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Final

from httpapi.client.programs import find_program
from httpapi.client.vm.machine import MachineRefused, Unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS: Final = 120.0
_FROZE: Final = re.compile(r"(\d+)")
# What virsh says when libvirt ends while it is asked.
_GONE: Final = re.compile(
    r"End of file while reading data|Disconnected from|[Cc]annot (recv|write) data|[Ss]ocket is closed"
)


class VirshRefused(MachineRefused):
    """libvirt refuses; `told` is what it says."""

    def __init__(self, command: str, told: str) -> None:
        super().__init__(f"libvirt refuses {command}: {told}")
        self.told = told


class VirshUnanswered(VirshRefused, Unanswered):
    """libvirt did not answer in time, or went away."""


class Virsh:
    """`connect` is libvirt's URI; None leaves it to virsh and LIBVIRT_DEFAULT_URI. ProgramMissing without virsh."""

    def __init__(self, connect: str | None = None) -> None:
        where = [] if connect is None else [f"--connect={connect}"]
        # What it says is read here, and must not be translated.
        self._command = ["/usr/bin/env", "LC_ALL=C", find_program("virsh"), "--quiet", *where]

    def run(self, command: str, *arguments: str) -> str:
        """What `virsh COMMAND ARGUMENT…` prints; VirshRefused with what it complains about."""
        try:
            done = subprocess.run(  # noqa: S603 - no shell
                [*self._command, command, *arguments],
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise VirshUnanswered(command, f"it has not answered for {_SECONDS:.0f} s") from None
        if done.returncode:
            told = _complaint(done.stderr)
            raise (VirshUnanswered if _GONE.search(os.fsdecode(done.stderr)) else VirshRefused)(command, told)
        return os.fsdecode(done.stdout)

    def names(self, command: str, *arguments: str) -> list[str]:
        """The lines of what it prints, without empty ones."""
        return [line.strip() for line in self.run(command, *arguments).splitlines() if line.strip()]


class VirshFreezer:
    """Freezes by the domain's guest agent; the arguments are libvirt's URI, empty for virsh's own, and the domain."""

    def __init__(self, arguments: Sequence[str]) -> None:
        connect, self._domain = arguments
        self._virsh = Virsh(connect or None)
        self.by_hand = shlex.join(["virsh", *([f"--connect={connect}"] if connect else []), "domfsthaw", self._domain])

    def freeze(self) -> int:
        """How many file systems were frozen. Unanswered if that takes too long: then they may be later."""
        found = _FROZE.search(self._virsh.run("domfsfreeze", self._domain))
        return int(found[1]) if found else 0

    def thaw(self) -> None:
        """They go on."""
        self._virsh.run("domfsthaw", self._domain)

    def close(self) -> None:
        """Nothing is held."""


def _complaint(stderr: bytes) -> str:
    lines = [line.removeprefix("error: ").strip() for line in os.fsdecode(stderr).splitlines()]
    # The first one says which command it was, the last one why.
    return next((line for line in reversed(lines) if line), "without a word")
