"""A Linux machine backed up night after night while it runs, and killed once between: by QEMU's monitor, by libvirt."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import ext4, guest_boot, tools
from bench.guest import Guest, content_sha256, qcow2
from bench.libvirt_session import NEEDED as LIBVIRT
from bench.libvirt_session import DomainGuest, Libvirt
from bench.places import drystone
from bench.show import client
from bench.show.registry import Figure, Room, check, holds, told
from bench.show.server import Server, environment
from bench.storage_daemon import reads_in

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

_PIECE = 65536
"""What QEMU's bitmaps of such disks count by, and a block of an image."""
_ROOT, _DATA, _SHORT = 32 << 20, 128 << 20, 16 << 20
_WRITES = 12
_LONGEST = 200_000
_DEVICE = "/dev/vdb"
# Stands where the backup looks for nbdinfo, while the moment is held: the guest writes on before anything is read.
_HELD = """#!/bin/sh
if [ -e {room}/wanted ]; then
  rm {room}/wanted
  while [ ! -e {room}/written ]; do sleep 0.05; done
fi
exec {nbdinfo} "$@"
"""


@dataclass(slots=True)
class Nights:
    """A guest with a root and a disk of data, how to back it up, and what was written to the data since it was."""

    room: Path
    url: str
    guest: Guest
    disks: tuple[str, str]
    how: list[str]
    size: int
    writes: int
    trace: Path | None = None
    dice: random.Random = field(default_factory=lambda: random.Random(8))
    pieces: set[int] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        """As the machine does by day: a file on its root, and some data here and there."""
        number = len(self.files)
        self.guest.write_file(f"/tmp/{number}", 300_000, seed=number)
        self.files[f"/tmp/{number}"] = content_sha256(number, 300_000)
        self._scatter(self.writes)
        self.guest.run("sync")

    def _scatter(self, number: int) -> None:
        for _ in range(number):
            length = self.dice.randrange(1, _LONGEST)
            offset = self.dice.randrange(self.size - length)
            self.guest.write_at(_DEVICE, offset, length, seed=self.dice.randrange(1000))
            self.pieces |= set(range(offset // _PIECE, -(-(offset + length) // _PIECE)))

    def state(self) -> dict[str, str]:
        """The hashes that a restored machine is to find: its files', and that of all of its data."""
        self.guest.forget_cache()
        return {**self.files, _DEVICE: self.guest.sha256(_DEVICE)}

    def backup(self, *, busy: bool) -> Night:
        """A night; if `busy`, the machine writes on while the moment is held."""
        written, self.pieces = self.pieces, set()
        began = 0 if self.trace is None else self.trace.stat().st_size
        if busy:
            (self.room / "wanted").touch()
        variables = {
            "DRYSTONE_ENDPOINT": self.url,
            "XDG_STATE_HOME": str(self.room / "home"),
            "PATH": f"{self.room / 'bin'}:{environment({})['PATH']}",
        }
        running = subprocess.Popen(
            [*drystone(), "vm", "backup", *self.how, "--json"],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Its pipes are read meanwhile, so that it need not wait.
        said: list[tuple[str, str]] = []
        listening = threading.Thread(target=lambda: said.append(running.communicate()))
        listening.start()
        while busy and (self.room / "wanted").exists() and running.poll() is None:
            time.sleep(0.02)
        if busy:
            self._scatter(2)
            (self.room / "written").touch()
        listening.join()
        (self.room / "written").unlink(missing_ok=True)
        out, complaints = said[0]
        if running.returncode:
            raise RuntimeError(f"drystone vm backup: exit code {running.returncode}\n{complaints}")
        done = json.loads(out)
        traced = None if self.trace is None else reads_in(self.trace.read_bytes()[began:])
        read = None if traced is None else sum(length for _, length in traced)
        return Night(done["group"], {each["disk"]: each for each in done["disks"]}, complaints, written, read)


@dataclass(frozen=True, slots=True)
class Night:
    """What the backup told, in JSON and on standard error, and the pieces of the data that were written before it.

    `traced` are the bytes that QEMU was asked for, if it keeps account of them.
    """

    group: str
    disks: dict[str, Any]
    said: str
    written: set[int]
    traced: int | None


@check(
    "machines", "nights", "Each night reads what was written, a crash is told of and read whole, and each night boots."
)
def nights(room: Room) -> Generator[Figure, None, None]:
    needed = ("qemu-img", "qemu-system-x86_64", "nbdinfo", tools.STATIC_BUSYBOX, tools.GUEST_KERNEL)
    if why := tools.missing(*needed):
        yield Figure("a machine", "none", "one", False, (why,))
        return
    (room.work / "bin").mkdir()
    stand_in = room.work / "bin" / "nbdinfo"
    stand_in.write_text(_HELD.format(room=room.work, nbdinfo=tools.find("nbdinfo")))
    stand_in.chmod(0o755)
    with Server(room.work / "data") as server:
        yield from _by_qmp(room, server.url)
        if why := tools.missing(*LIBVIRT):
            yield Figure("libvirt", "none", "one", False, (why,))
            return
        yield from _by_libvirt(room, server.url)


def _by_qmp(room: Room, url: str) -> Generator[Figure, None, None]:
    root, data, size = _make_disks(room, room.work)
    trace = room.work / "trace"
    traced = ["-trace", f"enable=nbd_receive_request,file={trace}"]
    with Guest([qcow2(root), qcow2(data)], root="/dev/vda", extra=traced) as guest:
        how = ["--qmp", str(guest.qmp), "--name", "by-qmp"]
        machine = Nights(room.work, url, guest, ("disk0", "disk1"), how, size, _writes(room), trace)
        yield from _nights(room, "qmp", machine, lambda night: _boot(room, url, machine, night))


def _by_libvirt(room: Room, url: str) -> Generator[Figure, None, None]:
    with Libvirt() as libvirt:
        root, data, size = _make_disks(room, libvirt.room)
        disks = {"vda": root, "vdb": data}
        with DomainGuest(libvirt, "by-libvirt", disks, root="/dev/vda") as guest:
            yield told("libvirt", libvirt.virsh("version").strip().splitlines()[-1])
            how = ["by-libvirt", "--connect", libvirt.uri]
            machine = Nights(room.work, url, guest, ("vda", "vdb"), how, size, _writes(room))
            yield from _nights(room, "libvirt", machine, lambda night: _boot(room, url, machine, night))
            expected = machine.state()
            last = machine.backup(busy=False)
            guest.forget()
            yield from _defined(url, libvirt, last, expected)


def _nights(
    room: Room, way: str, machine: Nights, boot: Callable[[Night], dict[str, str]]
) -> Generator[Figure, None, None]:
    """Four nights, and a crash before the third."""
    for number, name in enumerate(("first night", "second night", "after a kill -9 of QEMU", "the night after")):
        if name.startswith("after"):
            machine.guest.kill()
            machine.guest.start()
        machine.write()
        expected = machine.state()
        full = number % 2 == 0
        night = machine.backup(busy=not full)
        title = f"{way}: {name}"
        yield from (_whole if full else _increment)(title, machine, night)
        if night.traced is not None:
            read = sum(each["read_bytes"] for each in night.disks.values())
            yield Figure(f"{title}: by QEMU's trace", f"{night.traced} bytes", f"= {read} bytes", night.traced == read)
        if name.startswith("after"):
            why = night.disks[machine.disks[1]]["why"]
            aloud = all(f"{disk}: full read: " in night.said for disk in machine.disks) and "killed" in why
            yield holds(f"{title}: it says full read", aloud, (why,))
        # Booting takes longest: the short form does it for the last night, which has all of the others below it.
        if not room.short or number == 3:
            found = boot(night)
            lost = [key for key, value in expected.items() if found.get(key) != value]
            yield holds(
                f"{title}: it boots, and has what was there", not lost, tuple(lost) or (f"{len(found)} hashes",)
            )


def _whole(name: str, machine: Nights, night: Night) -> Generator[Figure, None, None]:
    for disk in machine.disks:
        done = night.disks[disk]
        figure = f"{done['read']}, {done['read_bytes']} bytes"
        just = done["read"] == "full" and done["dirty"] is None and done["read_bytes"] == done["size"]
        yield Figure(f"{name}: read of {disk}", figure, f"full, = {done['size']} bytes", just, _sent(done))


def _increment(name: str, machine: Nights, night: Night) -> Generator[Figure, None, None]:
    root, data = (night.disks[disk] for disk in machine.disks)
    # Which pieces of its root a file system writes to is its own affair.
    figure = f"{root['read']}, {root['read_bytes']} bytes"
    just = root["read"] == "dirty" and 0 < root["read_bytes"] == root["dirty"]
    yield Figure(f"{name}: read of {root['disk']}", figure, f"= dirty, {root['dirty']} bytes", just, _sent(root))
    written = len(night.written) * _PIECE
    figure = f"{data['read']}, {data['read_bytes']} bytes"
    just = data["read"] == "dirty" and data["read_bytes"] == data["dirty"] == written
    yield Figure(f"{name}: read of {data['disk']}", figure, f"= dirty, {written} bytes", just, _sent(data))


def _writes(room: Room) -> int:
    return _WRITES // 3 if room.short else _WRITES


def _sent(done: dict[str, Any]) -> tuple[str, ...]:
    return (f"{done['sent']} bytes sent, {done['unchanged']} unchanged",)


def _make_disks(room: Room, place: Path) -> tuple[Path, Path, int]:
    """A root that a guest boots from, and a disk for data; and the latter's size."""
    tree, plain = room.work / "tree", room.work / "root.raw"
    if not tree.exists():
        guest_boot.fill_root(tree)
        ext4.make(plain, tree, _ROOT, 200)
    root, data = place / "root.qcow2", place / "data.qcow2"
    tools.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(plain), str(root))
    size = _SHORT if room.short else _DATA
    # All of it is data, so that each night's increment is of what was written alone.
    full = room.work / "data.raw"
    full.write_bytes(random.Random(size).randbytes(size))
    tools.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(full), str(data))
    return root, data, size


def _boot(room: Room, url: str, machine: Nights, night: Night) -> dict[str, str]:
    """What a machine finds that is started from the night's disks."""
    place = room.work / f"restored-{night.group}"
    client.program(url, "vm", "restore", night.group, "--to", str(place))
    disks = [qcow2(place / f"{disk}.qcow2") for disk in machine.disks]
    with Guest(disks, root="/dev/vda") as guest:
        return {key: guest.sha256(key) for key in (*machine.files, _DEVICE)}


def _defined(url: str, libvirt: Libvirt, night: Night, expected: dict[str, str]) -> Generator[Figure, None, None]:
    """The domain itself back, by its XML."""
    place = libvirt.room / "again"
    client.program(url, "vm", "restore", night.group, "--to", str(place), "--define", "--connect", libvirt.uri)
    libvirt.give(place, *place.iterdir())
    with DomainGuest(libvirt, "by-libvirt", {}, defined=True) as guest:
        found = {key: guest.sha256(key) for key in expected}
        guest.forget()
    yield holds("libvirt: the domain is defined again by its backup, and starts", found == expected)
