"""What an upload became, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.digest import HOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blockstore.manifest_builder import BuiltManifest
    from blockstore.receive import Prepared


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What an upload became: a durable manifest, what the taps found, and what it cost.

    `new_bytes` are bytes written to packs; `held` blocks were there already, `inherited` ones are the base's.
    """

    manifest: BuiltManifest
    size: int
    taps: Mapping[str, str]
    new_blocks: int
    new_bytes: int
    held_blocks: int
    hole_blocks: int
    inherited_blocks: int


@dataclass(slots=True)
class Counts:
    """The running figures of one upload; only its append lane's turns touch them."""

    new_blocks: int = 0
    new_bytes: int = 0
    held: int = 0
    holes: int = 0
    inherited: int = 0

    def add(self, prepared: Prepared, written: tuple[int, int], listed: int) -> None:
        """Count a stored window: blocks and bytes written, and how many of its data blocks the manifest lists."""
        self.new_blocks += written[0]
        self.new_bytes += written[1]
        self.holes += sum(1 for name in prepared.scanned.digests if name == HOLE)
        self.inherited += len(prepared.inherited)
        self.held += listed - written[0]

    def result(self, manifest: BuiltManifest, size: int, taps: Mapping[str, str]) -> WriteResult:
        """The figures with what they belong to."""
        return WriteResult(
            manifest=manifest,
            size=size,
            taps=taps,
            new_blocks=self.new_blocks,
            new_bytes=self.new_bytes,
            held_blocks=self.held,
            hole_blocks=self.holes,
            inherited_blocks=self.inherited,
        )
