"""One collection at a time: two would be safe, and only take each other's rows over.

A lock that dies with its process. Who is frozen keeps it: the next one is refused, and told who that is.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from blockstore.errors import DataRefused
from blockstore.leases.flock import held_files, holder, holds, only_one

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.data_dir import DataDir

_LOCK: Final = ".collection"
"""In `processes/`, where names with a dot are no processes'."""


def last_begun(root: Path) -> float | None:
    """When the last collection of this data directory began, in seconds since 1970; None if none ever did."""
    try:
        return (root / "processes" / _LOCK).stat().st_mtime
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def only_collection(data: DataDir, purpose: str) -> Iterator[None]:
    """Hold the lock meanwhile, whose file's time is that of the beginning; DataRefused says which process has it.

    It is refused, too, beside a process of an older version, whose files would be taken for nobody's (`unnamed.py`).
    """
    path = data.folder("processes") / _LOCK
    with only_one(path, f"{data.root} is being collected", purpose):
        for process in held_files(path.parent):
            if not holds(process):
                raise DataRefused(
                    f"process {holder(process)} is of an older version, beside which nothing can be collected: start "
                    "it again, or stop it"
                )
        yield
