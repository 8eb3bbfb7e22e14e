"""A small Linux machine that obeys: QEMU without hardware help, disks that the caller names, commands by `run`.

with Guest([qcow2(disk)]) as guest:
    guest.run("mount /dev/vda /mnt")
    guest.write_file("/mnt/one", 3 << 20, seed=1)
    guest.run("fsfreeze --freeze /mnt; fsfreeze --unfreeze /mnt")
    guest.power_off()

It starts in about four seconds. The first disk is /dev/vda, its block node and device in QEMU are `disk0` and
`device0`, the next ones count on. `qmp` is a socket that nobody holds, for whoever wants to talk to QEMU.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench import guest_boot, tools
from bench.guest_console import Console, GuestFailed
from bench.qmp import Qmp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_GONE_WITHIN = 60.0


def raw(path: Path, **more: object) -> dict[str, object]:
    """A disk that is a raw file; `more` are QEMU's other options for it."""
    return {"driver": "raw", "file": {"driver": "file", "filename": str(path)}, **more}


def qcow2(path: Path, **more: object) -> dict[str, object]:
    """A disk that is a qcow2 file, with the backing file that it names."""
    return {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, **more}


def nbd(path: Path, export: str = "", **more: object) -> dict[str, object]:
    """A disk that an NBD server has, behind a unix socket; `**{"reconnect-delay": 30}` waits for a new server."""
    return {"driver": "nbd", "server": {"type": "unix", "path": str(path)}, "export": export, **more}


class Guest:
    """A machine with these disks, in QEMU's own words; `root` is the guest's device to take its root from, /dev/vda.

    `extra` are further arguments of QEMU's, before the disks, so that these may name what it has.
    """

    def __init__(
        self, disks: Sequence[Mapping[str, object]], *, root: str = "", memory: int = 160, extra: Sequence[str] = ()
    ) -> None:
        self._disks, self._root, self._memory, self._extra = disks, root, memory, extra
        # Addresses of unix sockets are short: 108 bytes, whatever the path of the checkout.
        self._room = tempfile.TemporaryDirectory(prefix="drystone-")
        self.room = Path(self._room.name)
        self.qmp = self.room / "qmp"
        self._line = self.room / "line"
        self._process: subprocess.Popen[bytes] | None = None
        self._console = Console(self._line)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """QEMU's; 0 if it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        """Returns when the guest obeys; also after `kill` or `power_off`. Raises GuestFailed, NoGuest."""
        for each in (self.qmp, self._line):
            each.unlink(missing_ok=True)
        command = [tools.find("qemu-system-x86_64") or "", *self._machine(guest_boot.make(self.room))]
        with (self.room / "qemu-said").open("wb") as said:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self._console = Console(self._line)
        try:
            self._console.wait(is_alive=lambda: self.pid)
        except GuestFailed as error:
            raise GuestFailed(f"{error}\n{self.said()}") from None

    def run(self, command: str, seconds: float = 60.0) -> str:
        """A shell's command, one line; what it said. Raises GuestFailed if its exit code is not 0."""
        return self._console.run(command, seconds)

    def write_file(self, path: str, size: int, *, seed: int) -> None:
        """Writes `content(seed, size)` to a file of the guest's; not synced."""
        self.run(f"content {seed} 2>/dev/null | head -c {size} > {path}")

    def write_at(self, device: str, offset: int, size: int, *, seed: int) -> None:
        """Writes `content(seed, size)` into a disk, or a file that stays, and syncs it."""
        made = f"content {seed} 2>/dev/null | head -c {size}"
        self.run(f"{made} | dd of={device} bs=64k seek={offset} oflag=seek_bytes conv=notrunc,fsync 2>/dev/null")

    def sha256(self, path: str, seconds: float = 120.0) -> str:
        """A file's or disk's, as the guest reads it now."""
        return self.run(f"sha256sum {path}", seconds).split()[0]

    def forget_cache(self) -> None:
        """What is read next comes from the disk."""
        self.run("sync; echo 3 > /proc/sys/vm/drop_caches")

    def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        """One command of QMP."""
        with Qmp(self.qmp) as qmp:
            return qmp.ask(command, arguments)

    def power_off(self) -> None:
        """As a person would: file systems are unmounted or synced, and QEMU writes what it knows of the disks."""
        self.run("umount -a -r -t ext4 2>/dev/null; sync")
        self._console.say("poweroff -f")
        if self._process is not None:
            self._process.wait(_GONE_WITHIN)
        self._console.close()

    def kill(self) -> None:
        """As if the machine lost its power: kill -9 of QEMU."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._console.close()

    def close(self) -> None:
        self.kill()
        self._room.cleanup()

    def said(self) -> str:
        """What QEMU complained about, and what the guest's kernel did."""
        files = (self.room / "qemu-said", self.room / "kernel-said")
        return "\n".join(each.read_text(errors="replace").strip() for each in files if each.exists()).strip()

    def _machine(self, boot: guest_boot.BootFiles) -> list[str]:
        line = boot.with_root(self._root) if self._root else boot.command_line
        return [
            *("-machine", "q35", "-accel", "tcg", "-m", str(self._memory), "-nodefaults", "-display", "none"),
            *("-no-reboot", "-kernel", str(boot.kernel), "-initrd", str(boot.initrd), "-append", line),
            *("-serial", f"file:{self.room / 'kernel-said'}"),
            *("-chardev", f"socket,id=line,path={self._line},server=on,wait=off", "-serial", "chardev:line"),
            *("-qmp", f"unix:{self.qmp},server=on,wait=off"),
            *self._extra,
            *itertools.chain.from_iterable(self._drives()),
        ]

    def _drives(self) -> Iterator[list[str]]:
        for number, disk in enumerate(self._disks):
            node = f"disk{number}"
            yield ["-blockdev", json.dumps({"node-name": node, **disk})]
            yield ["-device", f"virtio-blk-pci,drive={node},id=device{number},serial={node}"]


def content(seed: int, size: int) -> bytes:
    """The bytes that a guest writes for a seed, no two blocks of them alike."""
    lines, made = guest_boot.PATTERN.splitlines(keepends=True), bytearray()
    for number in itertools.count():
        if len(made) >= size:
            break
        made += b"".join(b"%d.%d." % (seed, number) + line for line in lines)
    return bytes(made[:size])


def content_sha256(seed: int, size: int) -> str:
    """What `Guest.sha256` says of it."""
    return hashlib.sha256(content(seed, size)).hexdigest()
