"""Who is storing a block right now, told between the processes of one data directory.

Held blocks go faster than new ones, so an upload catches up with one of the same image in another process. From then
on both would store every block, since neither sees the other's before a generation puts its rows. So each process says
which blocks it is about to store; an upload that meets another's claims waits a moment, falls behind, and finds rows.

It is a hint, in a file that all of them map: a torn or lost entry, or a collision, costs a pause or a copy, no more.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SLOTS: Final = 1 << 16
FRESH: Final = 5.0
"""Seconds that a claim counts: by then its generation has closed, or its process has other troubles."""
GO_AHEAD: Final = 3.0
"""Seconds that an upload lets the other process go ahead: more than a generation lasts."""
_CLAIM: Final = struct.Struct("<8sII")
_TICKS: Final = 10
"""Of a second; the monotonic clock is the same for all processes of a machine."""


class Claims:
    """The table, mapped; safe on several threads, since nothing depends on it."""

    def __init__(self, path: Path) -> None:
        self._me = secrets.randbits(32) or 1
        size = SLOTS * _CLAIM.size
        with disk_errors(str(path)):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Written out, so that a full disk is an error here and not a signal at some later store.
                os.posix_fallocate(fd, 0, size)
                self._table = mmap.mmap(fd, size)
            finally:
                os.close(fd)

    def claim(self, digests: Iterable[bytes]) -> int:
        """Say that these are being stored here; gives for how many another process said so a moment ago."""
        now = int(clock.monotonic() * _TICKS)
        others = 0
        for digest in digests:
            at = int.from_bytes(digest[8:12], "little") % SLOTS * _CLAIM.size
            prefix, who, when = _CLAIM.unpack_from(self._table, at)
            if prefix == digest[:8] and who != self._me and 0 <= now - when < FRESH * _TICKS:
                others += 1
            else:
                _CLAIM.pack_into(self._table, at, digest[:8], self._me, now & 0xFFFFFFFF)
        return others

    def close(self) -> None:
        """Let go of the map."""
        self._table.close()
