"""`qemu-img` by itself: the other opinion on what converted disks hold, and what our conversions are compared with."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import tools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_IDENTICAL, _DIFFERENT = 0, 1


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds, by the clock and of the processors."""

    wall: float
    cpu: float


def convert(source: Path, source_form: str, target: Path, target_form: str, *options: str) -> Cost:
    """A disk in another format; `options` go before the files, such as `-c`."""
    return timed(["convert", "-f", source_form, "-O", target_form, *options, str(source), str(target)])


def timed(arguments: Sequence[str]) -> Cost:
    """Runs qemu-img; what it cost. RuntimeError with what it said if it fails."""
    began = time.monotonic()
    process = subprocess.Popen(_command(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = process.stdout.read()
    # Its own use, not that of whatever else this process has waited for.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"qemu-img {' '.join(arguments)}: {said.decode(errors='replace')}")
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime)


def equal(first: Path, first_form: str, second: Path, second_form: str) -> bool:
    """Whether both hold the same disk, of the same size. RuntimeError if one of them cannot be read."""
    # Not its strict mode, which compares what is allocated, too.
    words = ["compare", "-f", first_form, "-F", second_form, str(first), str(second)]
    done = subprocess.run(_command(words), capture_output=True, text=True, check=False)
    if done.returncode not in {_IDENTICAL, _DIFFERENT}:
        raise RuntimeError(f"qemu-img {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.returncode == _IDENTICAL and "size mismatch" not in done.stdout


def info(disk: Path, form: str) -> dict[str, Any]:
    """What qemu-img tells of a disk."""
    found: dict[str, Any] = json.loads(tools.run("qemu-img", "info", "-f", form, "--output=json", str(disk)))
    return found


def _command(arguments: Sequence[str]) -> list[str]:
    return [tools.find("qemu-img") or "qemu-img", *arguments]
