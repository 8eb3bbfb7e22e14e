"""What an upload became, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.digest import HOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blockstore.generation import Appended
    from blockstore.manifest_builder import BuiltManifest
    from blockstore.receive import Prepared


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What an upload became: a durable manifest, what the taps found, and what it cost.

    `new_bytes` are bytes written to packs; `held` blocks were there already, `inherited` ones are the base's. Of the
    image's own bytes `fresh_bytes` are those of new blocks, `hole_bytes` those of holes, `changed_bytes` those of data
    blocks that are not the base's; the manifest may list more, if it was flattened.
    """

    manifest: BuiltManifest
    size: int
    taps: Mapping[str, str]
    new_blocks: int
    new_bytes: int
    held_blocks: int
    hole_blocks: int
    inherited_blocks: int
    fresh_bytes: int
    hole_bytes: int
    changed_bytes: int


@dataclass(slots=True)
class Counts:
    """The running figures of one upload; only its append lane's turns touch them."""

    new_blocks: int = 0
    new_bytes: int = 0
    held: int = 0
    holes: int = 0
    inherited: int = 0
    fresh_bytes: int = 0
    hole_bytes: int = 0

    def add(self, prepared: Prepared, appended: Appended, listed: int) -> None:
        """Count a stored window: blocks and bytes written, and how many of its data blocks the manifest lists."""
        self.new_blocks += appended.blocks
        self.new_bytes += appended.size
        scanned = prepared.scanned
        holes = [
            stop - start for name, (start, stop) in zip(scanned.digests, scanned.spans(), strict=True) if name == HOLE
        ]
        self.holes += len(holes)
        self.hole_bytes += sum(holes)
        # Of what another upload stored at the same instant, each has its share.
        if appended.blocks:
            fresh = [entry.raw_length for entry in prepared.fresh.values()]
            self.fresh_bytes += sum(fresh) * appended.blocks // len(fresh)
        self.inherited += len(prepared.inherited)
        self.held += listed - appended.blocks

    def result(self, manifest: BuiltManifest, changed: int, size: int, taps: Mapping[str, str]) -> WriteResult:
        """The figures with what they belong to; `changed` bytes were listed before a flattening."""
        return WriteResult(
            manifest=manifest,
            size=size,
            taps=taps,
            new_blocks=self.new_blocks,
            new_bytes=self.new_bytes,
            held_blocks=self.held,
            hole_blocks=self.holes,
            inherited_blocks=self.inherited,
            fresh_bytes=self.fresh_bytes,
            hole_bytes=self.hole_bytes,
            changed_bytes=changed,
        )
