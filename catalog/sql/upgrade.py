"""An older version's catalog brought up to date, by whoever has the data directory alone.

A process of the older version that runs knows nothing of what is new: it would write rows that lack it, or fail. So the
schema changes only under the data directory's exclusive lock, and nobody's whose catalog is up to date asks for that.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.data_dir import PATIENCE, DataDir
from blockstore.disk import Disk
from blockstore.errors import DataRefused
from catalog.sql.open import bring_up, is_older

if TYPE_CHECKING:
    from pathlib import Path


def bring_up_to_date(root: Path, path: Path) -> None:
    """Migrate the catalog at `path` in the data directory `root` if it is an older version's.

    DataRefused names who uses the directory if that does not end within PATIENCE; then nothing was changed. Several may
    begin at once: one migrates, the others wait for it. Call it before opening the directory.
    """
    deadline = clock.monotonic() + PATIENCE
    while is_older(path):
        try:
            data = DataDir.open_made(root, Disk(), purpose="upgrade", exclusive=True)
        except DataRefused as refusal:
            if clock.monotonic() < deadline:
                time.sleep(0.05)
                continue
            raise DataRefused(
                f"the catalog {path} is an older version's, and can be brought up to date only while no other process "
                "has it. Stop every server and worker that still runs the older version, then start this one. "
                f"Nothing was changed: {refusal}"
            ) from refusal
        with closing(data):
            bring_up(path)
