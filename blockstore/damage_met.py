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
    """Since the start: how many damaged blocks were marked, and the manifests of which a copy was wrong.

    `condemned`: how often a block was read that an image needs and a collection had taken for garbage.
    """

    blocks: int
    manifests: frozenset[str]
    condemned: int = 0


class DamageMet:
    """Safe on several threads; costs nothing as long as all is right."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._manifests: set[str] = set()
        self._condemned = 0
        self._condemning: set[str] = set()

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

    def condemned(self, path: Path, name: bytes, count: int) -> None:
        """Blocks of a live manifest were read, `name` among them, that are condemned; said once for each manifest."""
        with self._lock:
            self._condemned += count
            new = path.stem not in self._condemning and len(self._condemning) < MOST
            if new:
                self._condemning.add(path.stem)
        if new:
            log.error(
                "block %s, which an image needs by its manifest %s, was taken for garbage by a collection; it is still "
                "there and was given. Stop collections (gc_every = 0, no `drystone admin gc`), keep the data as they "
                "are, run `drystone admin verify` and report what it says: this must never happen",
                name.hex(),
                path.stem,
            )

    def so_far(self) -> Met:
        """All of it."""
        with self._lock:
            return Met(self._blocks, frozenset(self._manifests), self._condemned)
