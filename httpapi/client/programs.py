"""Foreign programs at the client: where they are, and running them so that none outlives its caller.

A caller that is killed can end nobody any more. So a shell runs beside each program and waits at a pipe that the
caller holds open: its end, without a word before, is the caller's, and the program is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from httpapi.client.errors import ProgramMissing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

# Program: the package that has it in Debian and Ubuntu, and in Fedora.
_PACKAGES: Final = {
    "nbdinfo": ("libnbd-bin", "libnbd"),
    "nbdkit": ("nbdkit", "nbdkit"),
    "qemu-img": ("qemu-utils", "qemu-img"),
    "qemu-nbd": ("qemu-utils", "qemu-img"),
    "virsh": ("libvirt-clients", "libvirt-client"),
}
_KILLED_WITH_US: Final = "exec 3<&0 </dev/null; (read -r _ <&3 || kill -KILL $$) >/dev/null 2>&1 & "
_PLAIN: Final = 'exec "$@" 3<&-'
# The program's process id is the shell's. Sockets begin at 3 (sd_listen_fds(3)).
_LISTENING: Final = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&1 >/dev/null'
_LEAST_INHERITED: Final = 10
"""A shell may use the descriptors below for itself."""


def find_program(name: str, otherwise: str = "") -> str:
    """The path of a program; ProgramMissing says which package has it, and what else would do: `otherwise`."""
    found = shutil.which(name)
    if found is None:
        debian, fedora = _PACKAGES[name]
        where = f"`apt install {debian}` (Debian, Ubuntu) or `dnf install {fedora}` (Fedora)"
        raise ProgramMissing(f"{name} is not installed: {where} brings it{otherwise and ', '}{otherwise}")
    return found


class BoundProgram:
    """A program that runs until it ends, is ended, or this process is gone, however it went.

    `listener` is a socket that it gets by systemd's protocol, in place of the standard output. Descriptors to inherit
    must be 10 or more. It has no standard input, no terminal's signals reach it, and `environment` is ours if None.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout: IO[bytes] | int = subprocess.DEVNULL,
        stderr: IO[bytes] | int = subprocess.DEVNULL,
        listener: int | None = None,
        inherited: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        assert all(each >= _LEAST_INHERITED for each in inherited)
        theirs, self._alive = os.pipe2(os.O_CLOEXEC)
        try:
            # No shell sees a text of the user's: the command's words come as its arguments.
            self._process = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _KILLED_WITH_US + (_PLAIN if listener is None else _LISTENING), "sh", *command],
                stdin=theirs,
                stdout=stdout if listener is None else listener,
                stderr=stderr,
                pass_fds=inherited,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code, None if it still runs after so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self, patience: float = 0.0) -> int:
        """Its exit code; killed if it still runs after so many seconds."""
        if self.wait(patience) is None:
            self._process.kill()
        code = self._process.wait()
        if self._alive >= 0:
            # The word that nobody is to be killed any more; who was waiting for it may be gone itself.
            with suppress(OSError):
                os.write(self._alive, b"\n")
            os.close(self._alive)
            self._alive = -1
        return code
