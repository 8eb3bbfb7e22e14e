"""A machine by libvirt: its checkpoints are the marks, and a pull backup holds the point in time.

libvirt keeps a bitmap for each checkpoint, and goes on with all of them; each disk may be read since another one. What
a run that was killed has left is known by its socket's name, which has the user in it, while the user's lock is held.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from httpapi.client.vm import domain_xml
from httpapi.client.vm.domain_xml import EXPORTED, DomainDisk, Held
from httpapi.client.vm.freezing import held_still
from httpapi.client.vm.machine import PREFIX, Disk, Export, MachineRefused, Mark, MarkLost, Unanswered
from httpapi.client.vm.qemu_asking import group_of
from httpapi.client.vm.qmp import wait_until
from httpapi.client.vm.virsh import Virsh, VirshRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SOCKETS: Final = Path("/var/tmp")  # noqa: S108 - whoever runs QEMU can make one there; the name is not to be guessed
_QCOW2: Final = "qcow2"
_NO_BACKUP: Final = ("no domain backup job present", "Domain backup job id not found")


class DomainMachine:
    """`domain` is a name, id or UUID of libvirt's. `socket` is where QEMU is to serve NBD, `scratch` a directory."""

    def __init__(self, connect: str | None, domain: str, *, socket: str | None, scratch: str | None) -> None:
        self._connect, self._domain = connect, domain
        self._virsh = Virsh(connect)
        self._socket = socket
        self._scratch = None if scratch is None else Path(scratch).absolute()
        self._frozen: int | None = None
        root = domain_xml.parse(self._virsh.run("dumpxml", domain), f"domain {domain}")
        self._disks = domain_xml.disks_of(root)
        self.name = root.findtext("name")
        self.uuid = root.findtext("uuid") or domain
        if not self._runs():
            raise MachineRefused(f"{self.name} does not run, and a backup is of one that does: push its disks' files")

    @property
    def frozen(self) -> int | None:
        """See Machine."""
        return self._frozen

    def tidy(self) -> bool:
        """See Machine."""
        socket = self._running_backup()
        if socket is None:
            return False
        if not self._is_ours(socket):
            raise MachineRefused(
                f"another backup of {self.name} is under way, at {socket or 'no socket'}: wait for it, or end it with "
                f"`virsh domjobabort {self._domain}`"
            )
        self._abort()
        return True

    def disks(self) -> Sequence[Disk]:
        """See Machine."""
        return [Disk(each.name, self._size(each.name), each.disk_format == _QCOW2) for each in self._disks]

    def marks(self) -> Sequence[Mark]:
        """See Machine."""
        found = []
        for name in self._virsh.names("checkpoint-list", self._domain, "--name"):
            if (group := group_of(name)) is not None:
                told = self._virsh.run("checkpoint-dumpxml", self._domain, name)
                then = domain_xml.marked_disks(domain_xml.parse(told, f"checkpoint {name}"))
                # libvirt knows them by their names alone, and disks change these: it must be the same file still.
                found += [
                    Mark(group, each.name, each.name, usable=then[each.name] in each.sources)
                    for each in self._disks
                    if each.name in then
                ]
        return found

    def description(self) -> str:
        """See Machine."""
        # Without passwords, which need --security-info, and as the machine starts, not as it runs.
        return self._virsh.run("dumpxml", self._domain, "--inactive")

    def begin(self, group: str, since: Mapping[str, str | None], *, freeze: bool | None) -> Mapping[str, Export]:
        """See Machine."""
        held = [self._held(each, since[each.name]) for each in self._disks if each.name in since]
        others = [each.name for each in self._disks if each.name not in since]
        socket = self._socket or f"{_our_sockets()}{secrets.token_hex(8)}"
        for each in held:
            # One of a run during which the machine ended; libvirt takes no file that is there.
            with suppress(OSError):
                each.scratch.unlink()
        try:
            with tempfile.TemporaryDirectory(prefix="drystone-") as room:
                files = [_written(room, "backup.xml", domain_xml.backup_xml(socket, held, others))]
                if (checkpoint := domain_xml.checkpoint_xml(PREFIX + group, held, others)) is not None:
                    files.append(_written(room, "checkpoint.xml", checkpoint))
                with held_still(["virsh", self._connect or "", self._domain], wanted=freeze) as self._frozen:
                    self._virsh.run("backup-begin", self._domain, *files)
        except VirshRefused as refused:
            self._give_up(group)
            # What was not answered may have begun: it is no matter of marks.
            if any(since.values()) and not isinstance(refused, Unanswered):
                raise MarkLost(refused.told) from refused
            raise
        except BaseException:
            self._give_up(group)
            raise
        return {
            each.disk: Export(
                f"nbd+unix:///{quote(each.disk)}?socket={quote(socket)}", EXPORTED if each.since is not None else None
            )
            for each in held
        }

    def end(self) -> None:
        """See Machine."""
        if self._running_backup() is not None:
            self._abort()

    def forget(self, group: str) -> None:
        """See Machine."""
        name = PREFIX + group
        if name not in self._virsh.names("checkpoint-list", self._domain, "--name"):
            return
        try:
            self._virsh.run("checkpoint-delete", self._domain, name)
        except VirshRefused:
            if not self._runs():
                raise
            # Its bitmap was lost with a QEMU that was killed: then there is only libvirt's own word of it.
            self._virsh.run("checkpoint-delete", self._domain, name, "--metadata")

    def close(self) -> None:
        """Nothing is held."""

    def _give_up(self, group: str) -> None:
        # What went wrong is being told, and the next run finds what is left.
        with suppress(MachineRefused):
            socket = self._running_backup()
            if socket is None or self._is_ours(socket):
                self.end()
                self.forget(group)

    def _is_ours(self, socket: str) -> bool:
        return socket.startswith(_our_sockets()) or socket == self._socket

    def _runs(self) -> bool:
        return self._virsh.run("domstate", self._domain).strip() in {"running", "paused"}

    def _held(self, disk: DomainDisk, since: str | None) -> Held:
        directory = self._scratch or (None if disk.file is None else disk.file.parent)
        if directory is None:
            raise MachineRefused(
                f"{disk.name} lies in no file, so there is no directory for what is overwritten meanwhile: "
                "name one with --scratch"
            )
        scratch = directory / f".{PREFIX}{self.uuid}-{disk.name}.scratch"
        return Held(disk.name, scratch, None if since is None else PREFIX + since, disk.disk_format == _QCOW2)

    def _size(self, disk: str) -> int:
        told = self._virsh.names("domblkinfo", self._domain, disk)
        sizes = [line.split()[-1] for line in told if line.startswith("Capacity:")]
        return int(sizes[0]) if sizes and sizes[0].isdigit() else 0

    def _running_backup(self) -> str | None:
        """The socket of the backup that runs, empty if it has none; None if libvirt says that none runs."""
        try:
            told = self._virsh.run("backup-dumpxml", self._domain)
        except VirshRefused as refused:
            if isinstance(refused, Unanswered) or not self._has_no_job(refused):
                raise
            return None
        return domain_xml.socket_of(domain_xml.parse(told, "the backup that runs"))

    def _has_no_job(self, refused: VirshRefused) -> bool:
        if any(each in refused.told for each in _NO_BACKUP):
            return True
        # libvirt speaks the language of the machine that it runs on; this is virsh's own word.
        told = self._virsh.names("domjobinfo", self._domain)
        return any(line.split() == ["Job", "type:", "None"] for line in told)

    def _abort(self) -> None:
        with suppress(VirshRefused):
            self._virsh.run("domjobabort", self._domain)
        wait_until(lambda: self._running_backup() is None, f"the backup job of {self.name}")


def _our_sockets() -> str:
    return str(_SOCKETS / f"{PREFIX}{os.getuid()}-")


def _written(room: str, name: str, text: str) -> str:
    path = Path(room, name)
    path.write_text(text, encoding="utf-8")
    return str(path)
