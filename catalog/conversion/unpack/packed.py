"""The compressed file as the decompressors read it, and what they refuse."""

from __future__ import annotations

import os
from typing import Final

PIECE: Final = 1 << 20
"""No decompressor gives more than this at once, whatever it was given."""
_READ: Final = 256 * 1024


class Refused(Exception):
    """The file is to blame; the message is a sentence for whoever sent it."""


class Packed:
    """Bytes of an open file in order; what was read too far is given back with `unread`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ahead = b""

    def some(self) -> bytes:
        """The next bytes, as many as are at hand; none at the end of the file."""
        ahead, self._ahead = self._ahead, b""
        return ahead or os.read(self._descriptor, _READ)

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises Refused if there are fewer."""
        while len(self._ahead) < count:
            more = os.read(self._descriptor, max(_READ, count - len(self._ahead)))
            if not more:
                raise too_short()
            self._ahead += more
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    def unread(self, data: bytes) -> None:
        """The next bytes are these."""
        self._ahead = data + self._ahead

    def at_end(self) -> bool:
        """Whether nothing follows."""
        self._ahead = self._ahead or os.read(self._descriptor, _READ)
        return not self._ahead


def too_short() -> Refused:
    """The file ends where more must follow."""
    return Refused("The compressed file ends too early: it was cut short. Send it again.")


def damaged(why: object) -> Refused:
    """The file's bytes are not what the compression writes, or their sum is wrong."""
    return Refused(f"The compressed file is damaged ({why}). Send it again.")


def more_follows(compression: str) -> Refused:
    """Bytes after the end."""
    return Refused(f"More follows after the end of the compressed file, and it is no {compression}: remove that.")
