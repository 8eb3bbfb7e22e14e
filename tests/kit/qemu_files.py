"""Disks in files of QEMU's formats, made and changed by QEMU's own tools."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def qemu(*command: str | Path) -> str:
    """Runs one of the tools; what it printed."""
    return subprocess.run([str(each) for each in command], check=True, capture_output=True, text=True).stdout


def make_disk(path: Path, disk_format: str, data: bytes, *options: str) -> Path:
    """A file of this format whose guest sees `data`."""
    raw = path.with_name(f"{path.name}.made-of")
    raw.write_bytes(data)
    qemu("qemu-img", "convert", "-f", "raw", "-O", disk_format, *options, raw, path)
    raw.unlink()
    return path


def make_overlay(path: Path, below: str, below_format: str, size: int) -> Path:
    """An empty overlay that says it lies over `below`, whether that is there or not."""
    qemu("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", below, "-F", below_format, path, str(size))
    return path


def write(path: Path, *what: str) -> None:
    """Writes as a guest would: `write -P 7 64k 4k`, see qemu-io."""
    qemu("qemu-io", "-f", "qcow2", *(word for each in what for word in ("-c", each)), path)


def seen_by_guest(path: Path, disk_format: str) -> bytes:
    """The guest's bytes, by qemu-img."""
    raw = path.with_name(f"{path.name}.seen")
    qemu("qemu-img", "convert", "-f", disk_format, "-O", "raw", path, raw)
    seen = raw.read_bytes()
    raw.unlink()
    return seen
