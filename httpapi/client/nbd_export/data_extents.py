"""Where an image has data, as nbdkit's extentlist filter reads it: all else is a hole, and is neither read nor sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpapi.client.block_scan import runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from httpapi.client.block_names import ImageNames


def write_extents(names: ImageNames, path: Path) -> int:
    """Writes one line an extent, `OFFSET LENGTH`; gives the bytes of holes."""
    holes = names.size
    with path.open("w", encoding="ascii") as file:
        for start, stop in _joined(names):
            holes -= stop - start
            file.write(f"{start} {stop - start}\n")
    return holes


def _joined(names: ImageNames) -> Iterator[tuple[int, int]]:
    begun, ended = 0, 0
    for start, stop in _found(names):
        if start != ended:
            if ended > begun:
                yield begun, ended
            begun = start
        ended = stop
    if ended > begun:
        yield begun, ended


def _found(names: ImageNames) -> Iterator[tuple[int, int]]:
    for window in names.windows(0, names.size):
        for first, last in runs_of(window.data):
            yield int(window.bounds[first]), min(int(window.bounds[last]), names.size)
