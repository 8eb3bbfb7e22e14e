"""What a QEMU, or a qemu-storage-daemon, tells of its disks, their bitmaps and its machine."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from httpapi.client.vm.machine import PREFIX, MachineRefused, Mark
from httpapi.client.vm.qmp import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from httpapi.client.vm.qmp import Qmp

# A device of virtio's is reached through this child of it.
_BACKEND = "/virtio-backend"
# Version 2 of qcow2, which QEMU 1.7 and older made.
_WITHOUT_BITMAPS = "0.10"


@dataclass(frozen=True, slots=True)
class Node:
    """A disk's block node; `device` is the kind of device that the guest sees, `directory` where its file lies."""

    disk: str
    node: str
    size: int
    persistent: bool
    device: str | None
    directory: Path | None
    bitmaps: tuple[Mapping[str, Any], ...]

    def names(self, which: Callable[[str], bool]) -> list[str]:
        """Those of the dirty bitmaps that `which` chooses."""
        return [name for each in self.bitmaps if which(name := str(each.get("name", "")))]

    def marks(self, group: str) -> list[str]:
        """The names of the dirty bitmaps that are that group's."""
        return self.names(lambda name: _parts(name)[0] == group)

    def bitmap(self, name: str) -> Mapping[str, Any] | None:
        """The dirty bitmap of this name."""
        return next((each for each in self.bitmaps if each.get("name") == name), None)


def nodes_of(qmp: Qmp) -> list[Node]:
    """Of all disks that are written to: a machine's drives; of a storage daemon, what it exports to be written."""
    named = {each["node-name"]: each for each in qmp.ask("query-named-block-nodes", {"flat": True})}
    drives = qmp.ask_if_known("query-block")
    if not drives:
        exported = [each["node-name"] for each in qmp.ask("query-block-exports") if not each["id"].startswith(PREFIX)]
        found: list[tuple[str, str, str | None]] = [(node, node, None) for node in sorted(set(exported))]
    else:
        found = [_drive(each) for each in drives if "inserted" in each]
    nodes = [
        _node(name, named[node], _device(qmp, qdev))
        for name, node, qdev in found
        if node in named and not named[node]["ro"] and not node.startswith(PREFIX)
    ]
    if len({each.disk for each in nodes}) < len(nodes):
        raise MachineRefused("two disks of this machine have one name: give them node names (-blockdev node-name=…)")
    return nodes


def marks_of(nodes: Sequence[Node]) -> list[Mark]:
    """The bitmaps that backups have left; those of others are not among them."""
    return [
        Mark(group, each.disk, was, usable=bool(bitmap.get("recording")) and not bitmap.get("inconsistent"))
        for each in nodes
        for bitmap in each.bitmaps
        for group, was in [_parts(str(bitmap.get("name", "")))]
        if group is not None
    ]


def mark_name(group: str, disk: str) -> str:
    """What the bitmap is called that goes on from that group's image of that disk."""
    return f"{PREFIX}{group}.{disk}"


def _parts(name: str) -> tuple[str | None, str]:
    group, _, disk = name.partition(".")
    return group_of(group), disk


def group_of(name: str) -> str | None:
    """The group that a mark of this name belongs to; None if it is no mark."""
    text = name.removeprefix(PREFIX)
    with suppress(ValueError):
        if name.startswith(PREFIX) and str(uuid.UUID(text)) == text:
            return text
    return None


def name_of(qmp: Qmp) -> str | None:
    """What `-name` says."""
    told = qmp.ask_if_known("query-name") or {}
    return told.get("name") or None


def description_of(qmp: Qmp, nodes: Sequence[Node]) -> str:
    """JSON with what a machine like this one is started with, as far as QEMU tells."""
    memory = qmp.ask_if_known("query-memory-size-summary") or {}
    cpus = qmp.ask_if_known("query-cpus-fast")
    told = {
        "name": name_of(qmp),
        "uuid": (qmp.ask_if_known("query-uuid") or {}).get("UUID"),
        "arch": (qmp.ask_if_known("query-target") or {}).get("arch"),
        "machine": (_property(qmp, "/machine", "type") or "").removesuffix("-machine") or None,
        "memory": memory.get("base-memory"),
        "cpus": None if cpus is None else len(cpus),
        "disks": [{"name": each.disk, "size": each.size, "device": each.device} for each in nodes],
    }
    return json.dumps({key: value for key, value in told.items() if value is not None})


def _node(name: str, told: Mapping[str, Any], device: str | None) -> Node:
    file = Path(str(told.get("file", "")))
    return Node(
        disk=name,
        node=told["node-name"],
        size=int(told["image"]["virtual-size"]),
        # Elsewhere a bitmap ends with QEMU.
        persistent=told["drv"] == "qcow2" and _compat(told["image"]) != _WITHOUT_BITMAPS,
        device=device,
        directory=file.parent if file.is_absolute() and file.is_file() else None,
        bitmaps=tuple(told.get("dirty-bitmaps", ())),
    )


def _compat(image: Mapping[str, Any]) -> str | None:
    found: str | None = image.get("format-specific", {}).get("data", {}).get("compat")
    return found


def _drive(told: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Its name, its node and the path of its device."""
    node, qdev = told["inserted"]["node-name"], told.get("qdev")
    # A node's name that QEMU made up is another one the next time.
    plain = (qdev or node).removesuffix(_BACKEND).rpartition("/")[2] if node.startswith("#") else node
    return told.get("device") or plain, node, qdev


def _device(qmp: Qmp, qdev: str | None) -> str | None:
    path = (qdev or "").removesuffix(_BACKEND)
    return _property(qmp, path, "type") if path.startswith("/") else None


def _property(qmp: Qmp, path: str, name: str) -> str | None:
    try:
        found = qmp.ask("qom-get", {"path": path, "property": name})
    except CommandRefused:
        return None
    return found if isinstance(found, str) else None
