"""A qemu-storage-daemon that has qcow2 disks in use, which a test writes to as their machine would."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.qmp import Qmp
from httpapi.client.nbd_file import NbdFile

if TYPE_CHECKING:
    from collections.abc import Sequence

_WITHIN = 20.0


class DisksInUse:
    """Disks of `size` bytes below `directory`, by name; `qmp` and `nbd` are its sockets."""

    def __init__(self, directory: Path, names: Sequence[str] = ("vda",), size: int = 16 << 20) -> None:
        self.names, self.size = names, size
        self.files = {name: directory / f"{name}.qcow2" for name in names}
        self._room = tempfile.TemporaryDirectory(prefix="drystone-")
        self.qmp, self.nbd = str(Path(self._room.name, "qmp")), str(Path(self._room.name, "nbd"))
        self._process: subprocess.Popen[bytes] | None = None
        for file in self.files.values():
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", file, str(size)], check=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._room.cleanup()

    def start(self) -> None:
        words = ["--chardev", f"socket,id=qmp,path={self.qmp},server=on,wait=off", "--monitor", "chardev=qmp"]
        words += ["--nbd-server", f"addr.type=unix,addr.path={self.nbd}"]
        for name, file in self.files.items():
            words += ["--blockdev", f"driver=qcow2,node-name={name},file.driver=file,file.filename={file}"]
            words += ["--export", f"type=nbd,id=of-{name},node-name={name},name={name},writable=on"]
        self._process = subprocess.Popen(["qemu-storage-daemon", *words])
        deadline = time.monotonic() + _WITHIN
        while not (Path(self.qmp).exists() and Path(self.nbd).exists()):
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """As a machine is shut down: what it knows of the disks is written to them."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_WITHIN)

    def kill(self) -> None:
        """As if it lost its power."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for each in (self.qmp, self.nbd):
            Path(each).unlink()

    def write(self, name: str, offset: int, length: int, pattern: int) -> None:
        command = ["qemu-io", "-f", "raw", "-c", f"write -q -P {pattern} {offset} {length}", self.uri(name)]
        subprocess.run(command, check=True)

    def content(self, name: str) -> bytes:
        """As its machine reads it now."""
        file = NbdFile(self.uri(name))
        try:
            return bytes(file.fill(memoryview(bytearray(file.size)), 0))
        finally:
            file.close()

    def uri(self, name: str) -> str:
        return f"nbd+unix:///{name}?socket={self.nbd}"

    def bitmaps(self, name: str) -> dict[str, bool]:
        """Whether each of a disk's bitmaps records."""
        node = next(each for each in self.ask("query-named-block-nodes") if each["node-name"] == name)
        return {each["name"]: each["recording"] for each in node.get("dirty-bitmaps", [])}

    def left(self) -> list[str]:
        """What a backup has made besides bitmaps, and not taken away again."""
        found = [each["id"] for query in ("query-block-exports", "query-jobs") for each in self.ask(query)]
        found += [each["node-name"] for each in self.ask("query-named-block-nodes")]
        return [each for each in found if each.startswith("drystone-")]

    def ask(self, command: str) -> Any:
        with Qmp(Path(self.qmp)) as qmp:
            return qmp.ask(command)
