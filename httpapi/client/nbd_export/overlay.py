"""A qcow2 file that lasts, over an export: what a machine writes stays in it, and it names the image that it is of.

The export's name is the image's id and stands in the file, so a file is never used over another image: here it is
compared, and a server refuses names that are not its own.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import TargetRefused
from httpapi.client.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECTOR: Final = 512


@dataclass(frozen=True, slots=True)
class Base:
    """What is served: its URI, its image, the driver that QEMU reads it with, and the disk's size where it is known."""

    uri: str
    image_id: str
    driver: str
    size: int | None


def prepare_overlay(file: Path, base: Base) -> bool:
    """Makes `file` over the export, unless it is such a one already; whether it was made.

    Raises TargetRefused for a file that is anything else, ProgramMissing without qemu-img.
    """
    program = find_program("qemu-img", "or leave --overlay out")
    if file.exists():
        _check(_info(program, file), file, base)
        return False
    if base.size is None:
        raise TargetRefused(f"how large the disk in {base.driver} is the service does not tell: pull it, or convert it")
    size = str(-(-base.size // _SECTOR) * _SECTOR)
    # -u: nothing of the image is opened, so that no name in it leads to a file of this machine.
    made = _run(program, "create", "-q", "-u", "-f", "qcow2", "-F", base.driver, "-b", base.uri, _plain(file), size)
    if made.returncode:
        file.unlink(missing_ok=True)
        raise TargetRefused(f"qemu-img cannot make {file}: {_last_line(made.stderr)}")
    return True


def _check(info: Mapping[str, object], file: Path, base: Base) -> None:
    named, driver = info.get("backing-filename"), info.get("backing-filename-format")
    if named == base.uri and driver == base.driver:
        return
    if not isinstance(named, str) or not named.startswith("nbd"):
        raise TargetRefused(f"{file} exists and is no overlay of an image: choose another file")
    if f"/{base.image_id}" not in named:
        raise TargetRefused(f"{file} is an overlay of another image ({named}): name that one, or another file")
    raise TargetRefused(
        f"{file} was made over {named}: serve the image there, or say "
        f"`qemu-img rebase -u -f qcow2 -F {base.driver} -b '{base.uri}' {file}` while no machine uses it"
    )


def _plain(file: Path) -> str:
    # Absolute, so that no name is taken for a protocol.
    return str(file.absolute())


def _info(program: str, file: Path) -> Mapping[str, object]:
    done = _run(program, "info", "-U", "-f", "qcow2", "--output=json", _plain(file))
    if done.returncode:
        raise TargetRefused(f"{file} exists and is no qcow2 file: choose another one ({_last_line(done.stderr)})")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [program, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]
