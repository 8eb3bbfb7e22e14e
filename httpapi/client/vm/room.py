"""What a backup keeps on this machine while it runs: a lock, so that a machine has one at a time, and a directory."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from httpapi.client.push_terms import key_of
from httpapi.client.vm.machine import MachineRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextmanager
def held_room(root: Path, what: Sequence[str], name: str) -> Iterator[Path]:
    """A directory below `root`, empty, for the machine that `what` tells apart from others; messages call it `name`.

    MachineRefused while another backup of it runs. What one that was killed left in it goes.
    """
    place = root / key_of(what)
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise MachineRefused(
            f"cannot write below {root}, where backups of one machine wait for each other: {failure.strerror}"
        ) from failure
    room = place / "room"
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineRefused(f"another backup of {name} is under way: wait for it, or stop it") from None
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(exist_ok=True, mode=0o700)
        try:
            yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)
    finally:
        os.close(lock)
