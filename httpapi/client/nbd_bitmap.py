"""What a QEMU's dirty bitmap says has changed on an NBD export, asked by libnbd's nbdinfo."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from httpapi.client.changed_extents import parse_data, parse_extents
from httpapi.client.cut_disks import end_of_clean
from httpapi.client.errors import SourceRefused
from httpapi.client.programs import find_program

if TYPE_CHECKING:
    from httpapi.client.changed_extents import ChangedExtents

_SECONDS: Final = 300
_PRINTED: Final = "what nbdinfo prints"


def dirty_extents(uri: str, bitmap: str) -> ChangedExtents:
    """The extents that `bitmap` has dirty, and where on the export the last data ends that it has not.

    SourceRefused where nbdinfo is missing, or finds no such bitmap.
    """
    dirty = parse_extents(_map(uri, f"=qemu:dirty-bitmap:{bitmap}", bitmap), _PRINTED)
    data = parse_data(_map(uri, "", bitmap), _PRINTED)
    return replace(dirty, clean_end=end_of_clean(data, dirty.extents))


def _map(uri: str, context: str, bitmap: str) -> bytes:
    command = [find_program("nbdinfo"), f"--map{context}", "--json", "--", uri]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)  # noqa: S603 - no shell
    except subprocess.TimeoutExpired:
        raise SourceRefused(f"nbdinfo has not answered for {_SECONDS} s: is {uri} still served?") from None
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise SourceRefused(f"the bitmap {bitmap} cannot be read: {told[-1] if told else 'nbdinfo fails'}")
    return done.stdout
