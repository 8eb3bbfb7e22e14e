"""The command that starts a machine like the one that was backed up by QMP, from what QEMU told of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# It comes from the service and goes to a shell: a value that is no plain word is left out.
_WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_USUAL_DEVICE: Final = "virtio-blk-pci"


def start_command(told: str, files: Mapping[str, Path], disk_format: str) -> Sequence[str]:
    """Its words; empty where a storage daemon was backed up, which has no machine."""
    try:
        machine = json.loads(told)
    except (ValueError, RecursionError):
        machine = None
    if not isinstance(machine, dict) or not (arch := _word(machine, "arch")):
        return ()
    words = [f"qemu-system-{arch}"]
    for option, value in (
        ("-name", _word(machine, "name")),
        ("-uuid", _word(machine, "uuid")),
        ("-machine", _word(machine, "machine")),
        ("-m", _number(machine, "memory", 1 << 20)),
        ("-smp", _number(machine, "cpus", 1)),
    ):
        words += [option, value] if value else []
    devices = {each.get("name"): each for each in machine.get("disks", ()) if isinstance(each, dict)}
    for number, (disk, file) in enumerate(files.items()):
        node, path = f"disk{number}", str(file).replace(",", ",,")
        device = _word(devices.get(disk, {}), "device") or _USUAL_DEVICE
        words += ["-blockdev", f"driver={disk_format},node-name={node},file.driver=file,file.filename={path}"]
        words += ["-device", f"{device},drive={node}"]
    return words


def _word(told: Mapping[str, Any], key: str) -> str:
    found = told.get(key)
    return found if isinstance(found, str) and _WORD.fullmatch(found) else ""


def _number(told: Mapping[str, Any], key: str, unit: int) -> str:
    found = told.get(key)
    return str(max(1, found // unit)) if isinstance(found, int) and found > 0 else ""
