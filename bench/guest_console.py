"""A guest's second serial line, as a unix socket: commands of a shell go in, what they say and exit codes come out."""

from __future__ import annotations

import itertools
import re
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ASK_AGAIN: Final = 0.3
_LONGEST: Final = 4000
"""Bytes of a line that a terminal surely takes."""


class GuestFailed(Exception):
    """A command failed, or the guest does not answer; the message has what it said."""


class Console:
    """QEMU listens for the line at `socket_path`: `-chardev socket,server=on`, or libvirt's `<serial type='unix'>`."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._socket: socket.socket | None = None
        self._heard = b""
        self._numbers = itertools.count(1)

    def wait(self, seconds: float = 120.0, is_alive: Callable[[], object] = lambda: True) -> None:
        """Returns when the guest obeys. Raises GuestFailed, at once if the machine is not alive."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._connect()
                self._ask("true", _ASK_AGAIN)
            except (OSError, GuestFailed) as error:
                if time.monotonic() > deadline or not is_alive():
                    raise GuestFailed(f"the guest does not obey: {error}") from error
                time.sleep(_ASK_AGAIN / 10)
            else:
                return

    def run(self, command: str, seconds: float = 60.0) -> str:
        """What a command said, without the last newline. Raises GuestFailed if its exit code is not 0."""
        code, said = self._ask(command, seconds)
        if code:
            raise GuestFailed(f"exit code {code}: {command}\n{said}")
        return said

    def say(self, command: str) -> None:
        """Sends a command without waiting for what becomes of it: `poweroff -f`, or one that another one waits for."""
        self._send(command, next(self._numbers))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        if self._socket is None:
            found = socket.socket(socket.AF_UNIX)
            try:
                found.connect(str(self._path))
            except OSError:
                found.close()
                raise
            self._socket, self._heard = found, b""

    def _ask(self, command: str, seconds: float) -> tuple[int, str]:
        number = next(self._numbers)
        self._send(command, number)
        end = re.compile(rb"(?:\A|.*\004\d+ \d+\n)?(.*?)\004%d (\d+)\n" % number, re.DOTALL)
        deadline = time.monotonic() + seconds
        while (found := end.match(self._heard)) is None:
            self._hear(deadline, command)
        self._heard = self._heard[found.end() :]
        return int(found[2]), found[1].decode(errors="replace").removesuffix("\n")

    def _send(self, command: str, number: int) -> None:
        line = f"{number} {command}\n".encode()
        if "\n" in command or len(line) > _LONGEST:
            raise ValueError(f"a command is one line of at most {_LONGEST} bytes: {command}")
        if self._socket is None:
            raise GuestFailed("the guest's line is closed")
        self._socket.sendall(line)

    def _hear(self, deadline: float, command: str) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or self._socket is None:
            raise GuestFailed(f"no answer yet: {command}\n{self._heard.decode(errors='replace')}")
        self._socket.settimeout(left)
        try:
            came = self._socket.recv(65536)
        except TimeoutError:
            return
        if not came:
            self.close()
            raise GuestFailed(f"the machine ended during: {command}\n{self._heard.decode(errors='replace')}")
        self._heard += came
