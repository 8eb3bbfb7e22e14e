"""A disk read by qemu-nbd: over connections that are there before it begins, so that nobody else can make one.

They are made to a socket in a private directory that is gone again before the program has opened a file. The program
ends with the last of them, and with us however we end.
"""

from __future__ import annotations

import json
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from httpapi.client.disk_formats.chain import described
from httpapi.client.errors import SourceRefused
from httpapi.client.nbd_file import NbdFile
from httpapi.client.programs import BoundProgram, find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from httpapi.client.disk_formats.chain import Layer

_CONNECTIONS: Final = 8
_POLL_SECONDS: Final = 0.1
_PATIENCE: Final = 5.0
OTHERWISE: Final = "and --as-is keeps the file as it is"


class Served:
    """`file` is the disk as an NBD export, until `close`. SourceRefused for what qemu-nbd does not open."""

    def __init__(self, layers: Sequence[Layer], name: str) -> None:
        program = find_program("qemu-nbd", OTHERWISE)
        with ExitStack() as stack:
            self._errors: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            graph, inherited = stack.enter_context(described(layers))
            listener, self._ready = _connected(stack)
            command = [program, "--read-only", f"--shared={_CONNECTIONS}", "--allocation-depth", "--"]
            self._program = BoundProgram(
                [*command, f"json:{json.dumps(graph)}"],
                stderr=self._errors,
                listener=listener.fileno(),
                inherited=inherited,
            )
            stack.push(self._program)
            listener.close()
            try:
                self.file = NbdFile(name, connect=self._next)
            except SourceRefused:
                self._program.end(_PATIENCE)
                why = told_by(self._errors)
                raise SourceRefused(
                    f"qemu-nbd cannot read {name} ({why}): `qemu-img check` and `qemu-img info` tell more, "
                    "or keep the file's bytes with --as-is"
                ) from None
            if self.file.size != layers[0].size:
                self.file.close()
                raise SourceRefused(
                    f"{name} says it is a disk of {layers[0].size} bytes, and qemu-nbd reads {self.file.size} of it: "
                    "keep the file's bytes with --as-is"
                )
            self._stack = stack.pop_all()

    def ended(self) -> str | None:
        """Why the program has ended, None if it runs."""
        code = self._program.wait(_POLL_SECONDS)
        return None if code is None else f"qemu-nbd has ended with exit code {code}: {told_by(self._errors)}"

    def close(self) -> None:
        """Ends the program."""
        self.file.close()
        for each in self._ready:
            each.close()
        self._stack.close()

    def _next(self, seconds: float) -> socket.socket:
        if not self._ready:
            raise ConnectionRefusedError(f"{_CONNECTIONS} connections are all there are")
        connection = self._ready.pop()
        connection.settimeout(seconds)
        return connection


def _connected(stack: ExitStack) -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket that has no name any more, and connections that wait for it to take them."""
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(_CONNECTIONS)]
    with tempfile.TemporaryDirectory(prefix="drystone-") as directory:
        path = str(Path(directory) / "nbd")
        listener.bind(path)
        listener.listen(_CONNECTIONS)
        for each in connections:
            each.connect(path)
    return listener, connections


def check_whole(layers: Sequence[Layer], stopped: Callable[[], bool]) -> None:
    """SourceRefused for a file with clusters that are not there: reading it would give zeros in their place.

    Of a vhdx qemu-nbd notices it itself, of a vdi its header tells.
    """
    program = find_program("qemu-img", OTHERWISE)
    for layer in layers:
        if layer.format not in {"qcow2", "vmdk"}:
            continue
        with ExitStack() as stack:
            told, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            graph, inherited = stack.enter_context(described([layer]))
            command = [program, "check", "--output=json", f"json:{json.dumps(graph)}"]
            running = stack.enter_context(BoundProgram(command, stdout=told, stderr=errors, inherited=inherited))
            while (code := running.wait(_POLL_SECONDS)) is None:
                if stopped():
                    raise SourceRefused(f"{layer.file.name} is not read any more")
            # 3: only space that nothing uses, see qemu-img(1).
            if code not in {0, 3}:
                why = "its tables do not fit what it holds" if code == 2 else told_by(errors)
                raise SourceRefused(
                    f"{layer.file.name} is damaged or cut off ({why}): get it whole, or see what "
                    f"`qemu-img check {layer.file.name}` says; --as-is keeps the file's bytes"
                )


def told_by(errors: IO[bytes]) -> str:
    """The last line that a program wrote, without its own name and the names of our descriptors."""
    errors.seek(0)
    lines = errors.read(1 << 16).decode(errors="replace").strip().splitlines()
    if not lines:
        return "it says nothing"
    return lines[-1].partition(": ")[2].rpartition("': ")[2] or lines[-1]
