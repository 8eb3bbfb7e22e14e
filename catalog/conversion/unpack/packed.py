"""The compressed file as the decompressors read it, and what they refuse."""

from __future__ import annotations

import os
from typing import Final

PIECE: Final = 1 << 20
"""No decompressor gives more than this at once, whatever it was given."""
_READ: Final = 32 * 1024
"""Little, since what is left of it is copied once for each stream of a file, and a file may be many tiny ones."""


class Refused(Exception):
    """The file is to blame; the message is a sentence for whoever sent it."""


class Packed:
    """Bytes of an open file in order; what was read too far is given back with `unread`.

    However small the parts are that are asked for, each byte is copied a few times and no more.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ahead = b""
        self._at = 0

    def some(self) -> bytes:
        """The next bytes, as many as are at hand; none at the end of the file."""
        ahead = self._rest()
        self._ahead, self._at = b"", 0
        return ahead or os.read(self._descriptor, _READ)

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises Refused if there are fewer."""
        while len(self._ahead) - self._at < count:
            left = self._rest()
            more = os.read(self._descriptor, max(_READ, count - len(left)))
            if not more:
                raise too_short()
            self._ahead, self._at = left + more, 0
        taken = self._ahead[self._at : self._at + count]
        self._at += count
        return taken

    def unread(self, data: bytes) -> None:
        """The next bytes are these."""
        begins = self._at - len(data)
        if begins >= 0 and self._ahead[begins : self._at] == data:
            self._at = begins
        else:
            self._ahead, self._at = data + self._rest(), 0

    def at_end(self) -> bool:
        """Whether nothing follows."""
        if self._at == len(self._ahead):
            self._ahead, self._at = os.read(self._descriptor, _READ), 0
        return not self._ahead

    def _rest(self) -> bytes:
        return self._ahead[self._at :]


def too_short() -> Refused:
    """The file ends where more must follow."""
    return Refused("The compressed file ends too early: it was cut short. Send it again.")


def damaged(why: object) -> Refused:
    """The file's bytes are not what the compression writes, or their sum is wrong."""
    return Refused(f"The compressed file is damaged ({why}). Send it again.")


def more_follows(compression: str) -> Refused:
    """Bytes after the end."""
    return Refused(f"More follows after the end of the compressed file, and it is no {compression}: remove that.")
