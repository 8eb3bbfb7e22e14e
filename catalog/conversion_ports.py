"""What jobs need of whoever converts images: one contract, `Converter`, and the value that it tells of a disk.

A conversion happens in a **room**: a directory of the caller's own, mode 0700, in which the caller puts a file, and
beside it nothing of worth. The converter reads that file as the user of its cage, and writes one new file into the
room. The caller keeps the room to itself while a call runs, and removes it afterwards; it may read the new file as it
reads any of its own, since nobody else can put another one in its place.

What every converter promises, and `tests/contracts/converter.py` holds it to:
- A format is never guessed. What a file is said to be is what it is opened as, if a look at it agrees.
- A file that leads out of the room is not opened: no backing file, no data file, no extent that lies elsewhere.
- A call that ends in an error, or is cancelled, leaves no process that it started, and no new file.
- The service's own memory does not grow with what a file says, nor the new file beyond what was allowed.

Errors: ConversionRefused, the file is to blame, and the next try would end alike; its sentence is for whoever sent the
file. ConversionFailed, the machine is, and a later try may do (it was killed, or took too long). ConversionUnavailable,
a program is not installed. StoreFull: there is no room on the disk that the room lies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCES: Final = ("raw", "qcow2", "vmdk", "vhdx", "vdi")
"""The values of `disk_format` that can be read."""

TARGETS: Final = ("raw", "qcow2", "vmdk", "vhdx")
"""Those that can be written."""

COMPRESSIBLE: Final = ("qcow2", "vmdk")
"""Those of them that can be written compressed."""

PACKED: Final = (
    *(b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"),
    # A zip of nothing, and the frames without data that a zstd file may begin with.
    *(b"PK\x05\x06", *(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))),
)
"""What files begin with that `unpack` takes for compressed ones; of any other it says that they are not."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file that was looked at: its format, a `disk_format`, and the bytes of the disk that a guest sees in it."""

    format: str
    virtual_size: int


class Converter(Protocol):
    """Inspects, converts and unpacks files; any number of calls at once, each in another room.

    Names are those of files in the room, of letters, digits, `.`, `_` and `-`, a letter or digit first.
    """

    def check(self) -> None:
        """Raise ConversionUnavailable, with what to install, if this machine cannot convert; cheap."""
        ...

    async def inspect(self, file: Path, disk_format: str) -> Disk:
        """What the file is, which is said to be of this format; its directory is the room. Raises ConversionRefused."""
        ...

    async def convert(
        self,
        room: Path,
        source: Disk,
        source_name: str,
        target_name: str,
        target_format: str,
        *,
        compressed: bool = False,
        progress: Callable[[float], None],
    ) -> Disk:
        """Write the disk in `source_name`, as `inspect` told it, to the new file `target_name`, and look at that.

        `progress` is told the share that is done, 0.0 to 1.0, on the loop. `compressed` is for those of COMPRESSIBLE;
        a vmdk is then stream-optimized, else sparse, and one file in both cases. The new file is sparse where the disk
        is. A disk comes out in whole sectors of 512 bytes: the last one is filled with zeros.
        """
        ...

    async def unpack(self, room: Path, source_name: str, target_name: str, *, cap: int) -> str:
        """Decompress `source_name` to the new file `target_name`, sparse; which compression it was.

        `gzip`, `xz`, `zstd` or `zip`, told by its first bytes. Raises ConversionRefused for anything else, for more
        than `cap` bytes, what follows the end, and a zip that has not exactly one file that is not encrypted.
        """
        ...
