"""What readers of this process have met that was not as it should be: counted, for whoever reports and mends it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)
MOST: Final = 1000
"""Manifests whose names are kept; a pass of scrubbing finds the others."""


@dataclass(frozen=True, slots=True)
class Met:
    """Since the start: how many damaged blocks were marked, and the manifests of which a copy was wrong."""

    blocks: int
    manifests: frozenset[str]


class DamageMet:
    """Safe on several threads; costs nothing as long as all is right."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._manifests: set[str] = set()

    def block(self) -> None:
        """A damaged block was marked."""
        with self._lock:
            self._blocks += 1

    def manifest(self, path: Path, why: str) -> None:
        """Something of a manifest had to be read from its second copy; said once for each."""
        with self._lock:
            new = path.stem not in self._manifests and len(self._manifests) < MOST
            if new:
                self._manifests.add(path.stem)
        if new:
            log.error("manifest %s: %s; it is read from its other copy and will be mended", path.stem, why)

    def so_far(self) -> Met:
        """All of it."""
        with self._lock:
            return Met(self._blocks, frozenset(self._manifests))
