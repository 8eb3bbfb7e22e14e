"""The service's side of decompression: starts our own program in the cage, and reads what it found.

The libraries that unpack what others sent never run in the service's process. The program is this package's Python; it
is started as the service's user, who can read it, and becomes the cage's user before it reads the first byte.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catalog.conversion.endings import fault_of
from catalog.conversion.rooms import new_file, plain
from catalog.model.errors import ConversionFailed, ConversionRefused, StoreFull

if TYPE_CHECKING:
    from catalog.conversion.cage import Cage, Ended

_KNOWN: Final = ("gzip", "xz", "zstd", "zip")
log = logging.getLogger(__name__)
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from catalog.conversion.unpack.program import main; main(sys.argv[2:])"
)
_ROOT: Final = str(Path(__file__).parents[2])


async def unpacked(cage: Cage, room: Path, source_name: str, target_name: str, *, cap: int) -> str:
    """As `Converter.unpack`."""
    walls = await cage.known_walls()
    numbers = (0, 0) if walls.guest is None else (walls.guest.uid, walls.guest.gid)
    command = [sys.executable, "-I", "-c", _START, _ROOT, str(cap), *map(str, numbers)]
    source = os.open(room / plain(source_name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with new_file(room, target_name, None) as target:
            ended = await cage.run(command, room, file_size=cap, streams=(source, target), enters_itself=True)
            return _compression(ended)
    finally:
        os.close(source)


def _compression(ended: Ended) -> str:
    found = _found(ended)
    if "refused" in found:
        raise ConversionRefused(str(found["refused"]))
    if "full" in found:
        raise StoreFull("The disk on which images are unpacked is full; make room there, or set another work_dir.")
    return str(found["compression"])


def _found(ended: Ended) -> dict[str, Any]:
    last = ended.err.strip().rpartition(b"\n")[2]
    try:
        found = json.loads(last)
    except ValueError:
        found = None
    if (
        ended.code
        or not isinstance(found, dict)
        or not ("refused" in found or "full" in found or found.get("compression") in _KNOWN)
    ):
        log.warning("unpacking ended with %d: %s", ended.code, ended.err[-2000:].decode(errors="replace"))
        if (fault := fault_of(ended, "the program that unpacks")) is not None:
            raise fault
        raise ConversionFailed(f"The program that unpacks ended with {ended.code}; the log of the service has more.")
    return found
