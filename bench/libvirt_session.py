"""A libvirt of its own, which starts and ends with a check, and a guest (`guest.py`) that is a domain of it.

libvirtd in session mode, with all that it has below one directory: it touches no other libvirt of this machine, and
wants no systemd. As root it runs as `nobody`, because root's libvirtd is the system's. Domains are QEMU's, without
hardware help.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from xml.etree import ElementTree as ET

from bench import guest_boot, tools
from bench.guest import Guest
from bench.guest_console import Console, GuestFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

NEEDED: Final = ("virsh", "libvirtd")
_WITHIN: Final = 30.0


class Libvirt:
    """`uri` is where virsh finds it; `room` is a directory that its QEMUs can write in."""

    def __init__(self) -> None:
        # Addresses of unix sockets are short; and who runs QEMU must get there, whatever the path of the checkout.
        self._place = tempfile.TemporaryDirectory(prefix="drystone-", dir="/var/tmp")
        self.place = Path(self._place.name)
        self.room = self.place / "room"
        self.uri = f"qemu+unix:///session?socket={self.place}/run/libvirt/libvirt-sock"
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for name in ("run", "config", "cache", "state", "home", "room"):
            (self.place / name).mkdir()
        self.give(self.place, *self.place.iterdir())
        self._process = subprocess.Popen(
            [*self._as_user(), tools.find("libvirtd") or "libvirtd", "--pid-file", str(self.place / "run" / "pid")],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.place / "said").open("wb"),
            start_new_session=True,
        )
        deadline = time.monotonic() + _WITHIN
        while True:
            try:
                self.virsh("list")
            except RuntimeError as failure:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self.place / "said").read_text(errors="replace")
                    self.__exit__()
                    raise RuntimeError(f"libvirtd does not start: {failure}\n{said}") from failure
                time.sleep(0.1)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_WITHIN)
        self._place.cleanup()

    def give(self, *paths: Path) -> None:
        """Makes its user theirs."""
        if self._user is not None:
            for each in paths:
                os.chown(each, self._user.pw_uid, self._user.pw_gid)

    def virsh(self, *arguments: str) -> str:
        return tools.run("virsh", f"--connect={self.uri}", *arguments)

    def pid_of(self, domain: str) -> int:
        """QEMU's; 0 if the domain does not run."""
        try:
            return int((self.place / "run" / "libvirt" / "qemu" / "run" / f"{domain}.pid").read_text())
        except FileNotFoundError:
            return 0

    def _as_user(self) -> list[str]:
        if self._user is None:
            return []
        ids = ["--reuid", str(self._user.pw_uid), "--regid", str(self._user.pw_gid), "--clear-groups"]
        return [tools.find("setpriv") or "setpriv", *ids, "--inh-caps=-all", "--bounding-set=-all"]

    def _environment(self) -> dict[str, str]:
        places = {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache", "HOME": "home"}
        own = {key: str(self.place / name) for key, name in places.items()}
        return os.environ | own | {"XDG_STATE_HOME": str(self.place / "state")}


class DomainGuest(Guest):
    """A guest that is the domain `name`; disks are qcow2 files in `libvirt.room`, by what libvirt calls them.

    `defined`: there is such a domain, whose line is at `line`, and it is not made anew.
    """

    def __init__(
        self, libvirt: Libvirt, name: str, disks: Mapping[str, Path], *, root: str = "", defined: bool = False
    ) -> None:
        super().__init__([], root=root)
        self._libvirt, self._name, self._files, self._defined = libvirt, name, disks, defined
        self._line = libvirt.room / "line"
        self._kernel_said = libvirt.room / "kernel-said"

    @property
    def pid(self) -> int:
        return self._libvirt.pid_of(self._name)

    def start(self) -> None:
        if not self._defined:
            boot = guest_boot.make(self._libvirt.room)
            self._libvirt.give(*self._files.values(), boot.initrd)
            path = self.room / "domain.xml"
            path.write_text(self._xml(boot))
            self._libvirt.virsh("define", str(path))
            self._defined = True
        self._libvirt.virsh("start", self._name)
        self._console = Console(self._line)
        try:
            self._console.wait(is_alive=lambda: self.pid)
        except GuestFailed as error:
            raise GuestFailed(f"{error}\n{self.said()}") from None

    def kill(self) -> None:
        """As if the machine lost its power; returns when libvirt knows."""
        self._console.close()
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _WITHIN
        while self._defined and "shut off" not in self._libvirt.virsh("domstate", self._name):
            if time.monotonic() > deadline:
                raise RuntimeError(f"libvirt has not noticed that {self._name} was killed")
            time.sleep(0.1)

    def forget(self) -> None:
        """libvirt knows it no more; its disks stay."""
        self.kill()
        self._libvirt.virsh("undefine", self._name, "--checkpoints-metadata")
        self._defined = False

    def said(self) -> str:
        log = self._libvirt.place / "cache" / "libvirt" / "qemu" / "log" / f"{self._name}.log"
        return "\n".join(each.read_text(errors="replace") for each in (log, self._kernel_said) if each.exists())

    def _xml(self, boot: guest_boot.BootFiles) -> str:
        domain = ET.Element("domain", type="qemu")
        for key, text in (("name", self._name), ("memory", str(160 << 10)), ("vcpu", "1")):
            ET.SubElement(domain, key).text = text
        system = ET.SubElement(domain, "os")
        ET.SubElement(system, "type", arch="x86_64", machine="q35").text = "hvm"
        line = boot.with_root(self._root) if self._root else boot.command_line
        for key, text in (("kernel", str(boot.kernel)), ("initrd", str(boot.initrd)), ("cmdline", line)):
            ET.SubElement(system, key).text = text
        devices = ET.SubElement(domain, "devices")
        ET.SubElement(devices, "emulator").text = tools.find("qemu-system-x86_64")
        for name, file in self._files.items():
            disk = ET.SubElement(devices, "disk", type="file", device="disk")
            ET.SubElement(disk, "driver", name="qemu", type="qcow2")
            ET.SubElement(disk, "source", file=str(file))
            ET.SubElement(disk, "target", dev=name, bus="virtio")
        talk = ET.SubElement(devices, "serial", type="file")
        ET.SubElement(talk, "source", path=str(self._kernel_said))
        ET.SubElement(talk, "target", port="0")
        obey = ET.SubElement(devices, "serial", type="unix")
        ET.SubElement(obey, "source", mode="bind", path=str(self._line))
        ET.SubElement(obey, "target", port="1")
        ET.SubElement(devices, "controller", type="usb", model="none")
        ET.SubElement(devices, "memballoon", model="none")
        return ET.tostring(domain, encoding="unicode")
