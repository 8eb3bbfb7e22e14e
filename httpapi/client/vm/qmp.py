"""QEMU's machine protocol: a command and its answer, one JSON object each, over a unix socket.

The same lines are spoken by the guest agent (`agent.py`), which has no greeting and no events.
"""

from __future__ import annotations

import json
import socket
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from httpapi.client.vm.machine import MachineRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECONDS: Final = 60.0
_GREETING_SECONDS: Final = 10.0
_OLDEST: Final = 6
_LONGEST: Final = 64 << 20


class CommandRefused(MachineRefused):
    """QEMU answered with an error, of class `kind`."""

    def __init__(self, command: str, told: Mapping[str, Any]) -> None:
        super().__init__(f"QEMU refuses {command}: {told.get('desc', 'without a word')}")
        self.kind = str(told.get("class", ""))


class Line:
    """A connection on which objects travel, one a line."""

    def __init__(self, path: str, what: str) -> None:
        self._what = f"{what} at {path}"
        self._socket = socket.socket(socket.AF_UNIX)
        self._rest = b""
        try:
            self._socket.settimeout(_GREETING_SECONDS)
            self._socket.connect(path)
        except OSError as failure:
            self._socket.close()
            raise MachineRefused(f"cannot reach {self._what}: {failure.strerror or failure}") from failure

    def send(self, message: object, *, before: bytes = b"") -> None:
        """One object; `before` goes in front of it as it is."""
        try:
            self._socket.sendall(before + json.dumps(message).encode() + b"\n")
        except OSError as failure:
            raise MachineRefused(f"{self._what} is gone: {failure.strerror or failure}") from failure

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next object; TimeoutError if none comes for so long."""
        while b"\n" not in self._rest:
            self._socket.settimeout(seconds)
            try:
                came = self._socket.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError as failure:
                raise MachineRefused(f"{self._what} is gone: {failure.strerror or failure}") from failure
            if not came or len(self._rest) > _LONGEST:
                raise MachineRefused(f"{self._what} has closed the connection")
            self._rest += came
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            # What was there before an agent's answer that was asked for may begin with 0xff.
            message = json.loads(line.lstrip(b"\xff"))
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise MachineRefused(f"{self._what} answers, but not as it should: is it that socket?")
        return message

    def close(self) -> None:
        """Closes it."""
        self._socket.close()


class Qmp:
    """A monitor, which has room for one connection at a time; MachineRefused if somebody else has it."""

    def __init__(self, path: str) -> None:
        self._line = Line(path, "QEMU's monitor")
        self._numbers = count(1)
        try:
            self._greet(path)
        except BaseException:
            self._line.close()
            raise

    def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        """What the command returns; CommandRefused with what QEMU says. Events are passed over."""
        # An earlier command that was not waited for until its end may be answered only now.
        number = next(self._numbers)
        self._line.send({"execute": command, "arguments": arguments or {}, "id": number})
        try:
            while "event" in (answer := self._line.receive(_SECONDS)) or answer.get("id") != number:
                pass
        except TimeoutError:
            raise MachineRefused(f"QEMU has not answered {command} for {_SECONDS:.0f} s: is it stopped?") from None
        if "error" in answer:
            raise CommandRefused(command, answer["error"])
        return answer.get("return")

    def ask_if_known(self, command: str) -> Any:  # noqa: ANN401 - JSON
        """The same; None where this program (a storage daemon, an older QEMU) has no such command."""
        try:
            return self.ask(command)
        except CommandRefused as refused:
            if refused.kind == "CommandNotFound":
                return None
            raise

    def close(self) -> None:
        """Lets others in."""
        self._line.close()

    def _greet(self, path: str) -> None:
        try:
            greeting = self._line.receive(_GREETING_SECONDS)
        except TimeoutError:
            raise MachineRefused(
                f"QEMU's monitor at {path} does not answer: it serves one connection at a time, and somebody has it"
            ) from None
        match greeting:
            case {"QMP": {"version": {"qemu": {"major": int(major)}}}}:
                pass
            case _:
                raise MachineRefused(f"{path} answers, but not as a monitor of QEMU's: -qmp unix:… makes one")
        if major < _OLDEST:
            raise MachineRefused(f"QEMU {major} is too old: backups need QEMU {_OLDEST} or newer")
        self.ask("qmp_capabilities")


def wait_until(done: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
    """Returns when `done()` is so; MachineRefused after so long, with `what` is waited for."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise MachineRefused(f"{what} has not ended for {seconds:.0f} s")
        time.sleep(0.02)
