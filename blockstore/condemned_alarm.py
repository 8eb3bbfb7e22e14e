"""The alarm of the collector: a block that an image needs is condemned, and only a second look will save it.

A condemned block is still read, so this comes in time. It is no alarm where the image may be newer than the run that
condemned it: such a run has not read its manifest, and will before it forgets anything (`collection/rows.py`). Nor
where the manifest's file is gone: the image was deleted while it was read.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blockstore.errors import BlockstoreError
from blockstore.names import made_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from blockstore.damage_met import DamageMet
    from blockstore.index.contract import BlockIndex

log = logging.getLogger(__name__)


class CondemnedAlarm:
    """Asked after readers have looked blocks up; costs a look at one count while nothing is condemned."""

    def __init__(self, index: BlockIndex, met: DamageMet) -> None:
        self._index = index
        self._met = met

    def look(self, manifest: Path, digests: Sequence[bytes]) -> None:
        """Blocks of this manifest or of those below it, which are about to be read; never fails."""
        try:
            runs = self._index.condemned_among(digests)
            if not runs:
                return
            written = manifest.stat().st_mtime_ns // 1000
        except FileNotFoundError:
            return
        except (BlockstoreError, OSError) as error:
            log.warning("whether blocks of %s are condemned cannot be looked at: %s", manifest, error)
            return
        known = [digest for digest, run in runs.items() if written < made_at(run)]
        if known:
            self._met.condemned(manifest, known[0], len(known))
