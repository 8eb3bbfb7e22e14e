"""A qemu-storage-daemon that has a qcow2 disk in use, as a running machine would, and tells what is read of it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench import tools
from bench.qmp import Qmp
from bench.show.server import tree

if TYPE_CHECKING:
    from collections.abc import Sequence

_REQUEST = re.compile(r"nbd_receive_request .*\.type = 0x([0-9a-f]+), from = (\d+), len = (\d+)")
_READ = 0
_WITHIN = 30.0


class StorageDaemon:
    """`command` is a shell's, with DISK, QMP and NBD for the disk's file and the two sockets; it exports `guest`."""

    def __init__(self, command: str, disk: Path, trace: Path) -> None:
        self.disk = disk
        self.trace = trace
        # Addresses of unix sockets are short: 108 bytes, whatever the path of the checkout.
        self._sockets = tempfile.TemporaryDirectory(prefix="drystone-")
        self.qmp, self.nbd = Path(self._sockets.name, "qmp"), Path(self._sockets.name, "nbd")
        self._command = f"exec {command.strip()} --trace enable=nbd_receive_request,file={trace}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._sockets.cleanup()

    def start(self) -> None:
        """Returns when it answers; RuntimeError if it doesn't."""
        for each in (self.qmp, self.nbd):
            each.unlink(missing_ok=True)
        places = {"DISK": str(self.disk), "QMP": str(self.qmp), "NBD": str(self.nbd)}
        self._process = subprocess.Popen(["sh", "-c", self._command], env=os.environ | places)
        deadline = time.monotonic() + _WITHIN
        while not (self.qmp.exists() and self.nbd.exists()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"qemu-storage-daemon does not start: {self._command}")
            time.sleep(0.02)

    def stop(self) -> None:
        """As a machine is shut down: what it knows of the disk is written to it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(_WITHIN)

    def kill(self) -> None:
        """As if the machine lost its power."""
        if self._process is not None:
            for pid in tree(self._process.pid):
                os.kill(pid, 9)
            self._process.wait()

    def ask(self, command: str) -> Any:  # noqa: ANN401 - JSON
        """One command of QMP."""
        with Qmp(self.qmp) as qmp:
            return qmp.ask(command)

    def bitmaps(self) -> dict[str, Any]:
        """The dirty bitmaps of the disk, by name."""
        nodes = self.ask("query-named-block-nodes")
        disk = next(node for node in nodes if node["node-name"] == "disk")
        return {each["name"]: each for each in disk.get("dirty-bitmaps", [])}

    def uri(self, export: str) -> str:
        return f"nbd+unix:///{export}?socket={self.nbd}"

    def guest(self, commands: Sequence[str]) -> list[str]:
        """qemu-io's command line for commands on the disk, as its user would write to it."""
        words = [word for command in commands for word in ("-c", command)]
        return [tools.find("qemu-io") or "qemu-io", "-f", "raw", *words, self.uri("guest")]

    def reads(self, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """(offset, length) of each read that its NBD server was asked for, by these bytes of the trace."""
        return reads_in(self.trace.read_bytes()[start:stop])


def reads_in(trace: bytes) -> list[tuple[int, int]]:
    """(offset, length) of each read in what QEMU has traced of `nbd_receive_request`."""
    requests = [(int(kind, 16), int(offset), int(length)) for kind, offset, length in _REQUEST.findall(trace.decode())]
    return [(offset, length) for kind, offset, length in requests if kind == _READ]
