"""Version bits of every format: 12 bytes that say who may read and who may write.

`compat` bits may be ignored; unknown `ro_compat` bits allow reading only; unknown `incompat` bits allow nothing.
This is the scheme of ext2's superblock. A format gains a bit when it changes; none is ever given a second meaning.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from blockstore.errors import DataRefused

STRUCT: Final = struct.Struct("<III")
KNOWN_RO_COMPAT: Final = 0
CONTENT_DEFINED: Final = 1
"""Incompat: a manifest whose blocks are cut by content, of any length."""
KNOWN_INCOMPAT: Final = CONTENT_DEFINED


@dataclass(frozen=True, slots=True)
class Features:
    """The three words of bits; all zero where nothing but the first version's formats is used."""

    compat: int = 0
    ro_compat: int = 0
    incompat: int = 0

    def check(self, what: str, *, write: bool = False) -> None:
        """Refuse (DataRefused) what this program does not know; `what` names the file in the message."""
        unknown = self.incompat & ~KNOWN_INCOMPAT
        if write:
            unknown |= self.ro_compat & ~KNOWN_RO_COMPAT
        if unknown:
            raise DataRefused(
                f"{what} was written in a newer format (bits {unknown:#x} are unknown here): "
                "run a newer Drystone on it, or give this one another data directory",
            )


NONE: Final = Features()
