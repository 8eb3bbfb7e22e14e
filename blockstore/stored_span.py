"""Blocks as they are stored, on their way out: short runs in memory, long ones still in their packs.

A long run is checked through a little memory that is used again, and then goes from the page cache into the socket
(sendfile(2)) without being copied. So what is sent is read once more after it was checked. A page that is dropped in
between and comes back from the disk with other bytes would go out; each frame's own checksum (RFC 8878, 3.1.1) tells
the receiver.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from blockstore.disk import disk_errors
from blockstore.errors import Damaged
from blockstore.packs.local import ASTRAY

if TYPE_CHECKING:
    from blockstore.packs.local import PackFile


@dataclass(frozen=True, slots=True)
class PackBytes:
    """Checked bytes of a pack: `length` from `start` on, as long as the file is open."""

    file: PackFile
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def after(self, count: int) -> PackBytes:
        """What is left of them after so many."""
        return PackBytes(self.file, self.start + count, self.length - count)

    def send(self, to: int) -> int:
        """Send some of them to the socket `to`; how many. An OSError is the socket's."""
        try:
            sent = os.sendfile(to, self.file.fd, self.start, self.length)
        except OSError as error:
            # No socket gives this one.
            with disk_errors(str(self.file.path)):
                if error.errno == errno.EIO:
                    raise
            raise
        if not sent:
            raise Damaged(f"{self.file.path} ended while it was sent; {ASTRAY}")
        return sent

    def load(self) -> bytes:
        """All of them in memory, for whoever has no socket of its own."""
        room = bytearray(self.length)
        self.file.read_into(self.start, memoryview(room))
        return bytes(room)


Part: TypeAlias = "bytes | memoryview | PackBytes"


@dataclass(slots=True)
class StoredSpan:
    """The blocks of a span as frames, part by part; `close` it when they are sent.

    Parts may lie in `room`, which is whoever's gave it.
    """

    parts: list[Part] = field(default_factory=list)
    room: memoryview = field(default_factory=lambda: memoryview(b""))

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def take(self, size: int) -> memoryview:
        """Memory for a part: of the room as long as it has so much left, else of its own."""
        if size > len(self.room):
            return memoryview(bytearray(size))
        part, self.room = self.room[:size], self.room[size:]
        return part

    def load(self) -> bytes:
        """All of it in memory."""
        return b"".join(part.load() if isinstance(part, PackBytes) else part for part in self.parts)

    def close(self) -> None:
        """Close the packs; the parts are no longer valid."""
        for part in self.parts:
            if isinstance(part, PackBytes):
                part.file.close()
        self.parts, self.room = [], memoryview(b"")
