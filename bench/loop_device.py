"""A block device over a file, for as long as a check needs it. Needs root and losetup."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING

from bench import tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def missing() -> str:
    """What keeps this machine from having one; empty if nothing does."""
    if why := tools.missing("losetup", "blkdiscard"):
        return why
    if os.geteuid() != 0:
        return "only root can make a loop device: run this as root"
    try:
        tools.run("losetup", "--find")
    except RuntimeError as failure:
        return f"no loop device can be made here: {str(failure).splitlines()[-1]}"
    return ""


@contextlib.contextmanager
def over(file: Path) -> Iterator[str]:
    """The device's path; it is gone afterwards."""
    device = tools.run("losetup", "--show", "--find", str(file)).strip()
    try:
        yield device
    finally:
        tools.run("losetup", "--detach", device)


def write(path: str | Path, offset: int, data: bytes) -> None:
    """Through the page cache, and not synced."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)


def write_direct(path: str | Path, offset: int, data: bytes) -> None:
    """Past the page cache: offset and length are multiples of the device's sectors."""
    descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        # Anonymous maps begin at a page, as the device wants it.
        with mmap.mmap(-1, len(data)) as aligned:
            aligned[:] = data
            os.pwritev(descriptor, [aligned], offset)
    finally:
        os.close(descriptor)


def discard(path: str, offset: int, length: int) -> None:
    """They are zeros then, and a hole of the file behind it."""
    tools.run("blkdiscard", "--offset", str(offset), "--length", str(length), path)


def settle(path: str) -> None:
    """What was written to it is in the file behind it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
