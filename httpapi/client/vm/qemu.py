"""A machine by QEMU's own protocol: its bitmaps are the marks, and `blockdev-backup` holds the point in time.

One transaction for all disks: from then on what the guest overwrites is kept first in a scratch file (QEMU calls it
fleecing), a new bitmap begins, and what the old one has is copied into `READING`. The old one goes on: whatever becomes
of this run, it is right, and has what was written since its image. Nothing that a run makes stays but one bitmap a
disk, and each begins with PREFIX, so that the next run finds what one that was killed has left.

The scratch file has no name any more as soon as QEMU has it open: it goes with QEMU, or with its node.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from httpapi.client.vm.freezing import held_still
from httpapi.client.vm.machine import PREFIX, Disk, Export, MachineRefused
from httpapi.client.vm.qemu_asking import Node, description_of, mark_name, marks_of, name_of, nodes_of
from httpapi.client.vm.qmp import CommandRefused, Qmp, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from httpapi.client.vm.machine import Mark

READING: Final = f"{PREFIX}reading"
"""The bitmap of what this run reads."""
_ALREADY: Final = "already running"


class QemuMachine:
    """`qmp` is the monitor's socket, `agent` the guest agent's, `nbd` where QEMU is to serve, or serves, its exports.

    `scratch` is a directory in which QEMU can write: it takes what the guest overwrites meanwhile.
    """

    def __init__(self, qmp: str, *, agent: str | None, nbd: str | None, scratch: str | None) -> None:
        self._qmp = Qmp(qmp)
        self._agent = agent
        self._nbd = nbd or f"{qmp}.{PREFIX}nbd"
        self._theirs = nbd is not None
        self._scratch = None if scratch is None else Path(scratch).absolute()
        self._serving = False
        self._frozen: int | None = None
        try:
            self.name = name_of(self._qmp)
        except BaseException:
            self._qmp.close()
            raise

    @property
    def frozen(self) -> int | None:
        """See Machine."""
        return self._frozen

    def tidy(self) -> bool:
        """See Machine."""
        return self._clear()

    def disks(self) -> Sequence[Disk]:
        """See Machine."""
        return [Disk(each.disk, each.size) for each in nodes_of(self._qmp)]

    def marks(self) -> Sequence[Mark]:
        """See Machine."""
        return marks_of(nodes_of(self._qmp))

    def description(self) -> str:
        """See Machine."""
        return description_of(self._qmp, nodes_of(self._qmp))

    def begin(self, group: str, since: Mapping[str, str | None], *, freeze: bool | None) -> Mapping[str, Export]:
        """See Machine."""
        nodes = [each for each in nodes_of(self._qmp) if each.disk in since]
        try:
            for number, node in enumerate(nodes):
                self._make_scratch(number, node)
            self._serve()
            with held_still(self._freezer(), wanted=freeze) as self._frozen:
                self._hold(group, nodes, since)
            return {each.disk: self._export(number, each, since) for number, each in enumerate(nodes)}
        except BaseException:
            self.end()
            self.forget(group)
            raise

    def end(self) -> None:
        """See Machine."""
        self._clear()
        if self._serving:
            self._qmp.ask("nbd-server-stop")
            self._serving = False

    def forget(self, group: str) -> None:
        """See Machine."""
        self._remove_bitmaps(lambda node: node.marks(group))

    def close(self) -> None:
        """See Machine."""
        self._qmp.close()

    def _hold(self, group: str, nodes: Sequence[Node], since: Mapping[str, str | None]) -> None:
        """The moment itself. The backups are prepared first: from then on no disk is written to until all is done."""
        actions = [
            _action("blockdev-backup", **{
                "job-id": _numbered(number), "device": each.node, "target": _numbered(number, "top"), "sync": "none",
            })
            for number, each in enumerate(nodes)
        ]  # fmt: skip
        for each in nodes:
            actions.append(_bitmap("add", each, name=mark_name(group, each.disk), persistent=each.persistent))
            if (old := since[each.disk]) is not None:
                [mark] = each.marks(old)
                was = each.bitmap(mark) or {}
                fine = {"granularity": was["granularity"]} if "granularity" in was else {}
                actions.append(_bitmap("add", each, name=READING, disabled=True, **fine))
                actions.append(_bitmap("merge", each, target=READING, bitmaps=[mark]))
        self._qmp.ask("transaction", {"actions": actions})

    def _export(self, number: int, node: Node, since: Mapping[str, str | None]) -> Export:
        name, partly = _numbered(number), since[node.disk] is not None
        export = {"id": name, "type": "nbd", "node-name": _numbered(number, "top"), "name": name}
        self._qmp.ask("block-export-add", export | ({"bitmaps": [READING]} if partly else {}))
        uri = f"nbd+unix:///{quote(name)}?socket={quote(self._nbd)}"
        return Export(uri, READING if partly else None)

    def _make_scratch(self, number: int, node: Node) -> None:
        """A qcow2 over the disk, made by QEMU itself, so that it is QEMU that must be able to write there."""
        directory = self._scratch or node.directory
        if directory is None:
            raise MachineRefused(
                f"{node.disk} lies in no directory for what is overwritten meanwhile: name one with --scratch"
            )
        file, top, path = (
            _numbered(number, "file"),
            _numbered(number, "top"),
            directory / f".{_numbered(number)}.scratch",
        )
        path.unlink(missing_ok=True)
        try:
            self._create({"driver": "file", "filename": str(path), "size": 0})
            self._qmp.ask("blockdev-add", {"node-name": file, "driver": "file", "filename": str(path)})
        except CommandRefused as refused:
            raise MachineRefused(f"{refused}: --scratch names another directory that QEMU can write in") from refused
        finally:
            path.unlink(missing_ok=True)
        self._create({"driver": "qcow2", "file": file, "size": node.size})
        self._qmp.ask("blockdev-add", {"node-name": top, "driver": "qcow2", "file": file, "backing": node.node})

    def _create(self, options: Mapping[str, object]) -> None:
        """Raises CommandRefused."""
        job = f"{PREFIX}create"
        self._qmp.ask("blockdev-create", {"job-id": job, "options": options})
        found: dict[str, Any] = {}

        def concluded() -> bool:
            found.update(next(each for each in self._qmp.ask("query-jobs") if each["id"] == job))
            return bool(found["status"] == "concluded")

        wait_until(concluded, "making a scratch file")
        self._qmp.ask("job-dismiss", {"id": job})
        if "error" in found:
            raise CommandRefused("blockdev-create", {"desc": found["error"]})

    def _serve(self) -> None:
        """An NBD server is there; QEMU has room for one."""
        address = {"type": "unix", "data": {"path": self._nbd}}
        try:
            self._qmp.ask("nbd-server-start", {"addr": address})
            self._serving = True
        except CommandRefused as refused:
            if _ALREADY not in str(refused):
                raise MachineRefused(f"{refused}: --nbd names another socket that QEMU can make") from refused
            if not _listens(self._nbd):
                raise MachineRefused(
                    "QEMU serves NBD already, for something else: --nbd names the socket at which it does"
                ) from refused
            # At our own address: a run that was killed has started it.
            self._serving = not self._theirs

    def _clear(self) -> bool:
        """Ends all of a point in time, in the order in which its parts hold each other; whether there was any."""
        exports, jobs = self._mine("query-block-exports"), self._mine("query-jobs")
        for each in exports:
            with suppress(CommandRefused):
                self._qmp.ask("block-export-del", {"id": each["id"], "mode": "hard"})
        wait_until(lambda: not self._mine("query-block-exports"), "an export")
        wait_until(self._no_job, "a job of a backup")
        nodes = [each["node-name"] for each in self._mine("query-named-block-nodes", "node-name")]
        for each in sorted(nodes, key=lambda name: "-top" not in name):
            self._qmp.ask("blockdev-del", {"node-name": each})
        return self._remove_bitmaps(lambda node: node.names(READING.__eq__)) or bool(exports or jobs or nodes)

    def _no_job(self) -> bool:
        """Asks those that run to end, and takes away those that have."""
        jobs = self._mine("query-jobs")
        for each in jobs:
            verb = "job-dismiss" if each["status"] == "concluded" else "job-cancel"
            # One that is just ending can't be asked to.
            with suppress(CommandRefused):
                self._qmp.ask(verb, {"id": each["id"]})
        return not jobs

    def _mine(self, query: str, key: str = "id") -> list[dict[str, Any]]:
        return [each for each in self._qmp.ask(query) if str(each.get(key, "")).startswith(PREFIX)]

    def _remove_bitmaps(self, which: Callable[[Node], Sequence[str]]) -> bool:
        found = [_bitmap("remove", each, name=name) for each in nodes_of(self._qmp) for name in which(each)]
        if found:
            self._qmp.ask("transaction", {"actions": found})
        return bool(found)

    def _freezer(self) -> list[str] | None:
        return None if self._agent is None else ["agent", self._agent]


def _numbered(number: int, what: str = "disk") -> str:
    """A name in QEMU for something of the so-manieth disk."""
    return f"{PREFIX}{what}-{number}"


def _action(verb: str, **data: object) -> dict[str, object]:
    return {"type": verb, "data": data}


def _bitmap(verb: str, node: Node, **data: object) -> dict[str, object]:
    return _action(f"block-dirty-bitmap-{verb}", node=node.node, **data)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.settimeout(2)
        probe.connect(path)
        return True
    return False
