"""How much of the budget an upload is given: the more there are, the smaller the slabs of those that come.

So that many slow senders, who would do with little, neither keep each other out nor starve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from blockstore.pipeline.slabs import SlabPool, SlabShare

SLAB: Final = 4 * 1024 * 1024
"""Each hand-over between threads costs as much as hashing a few blocks, so slabs are long while there is room."""
SMALL_SLAB: Final = 256 * 1024
SMALLEST_SLAB: Final = 64 * 1024


def upload_share(pool: SlabPool, slab: int, shortest: int) -> SlabShare | None:
    """A share for an upload whose slabs have up to `slab` bytes and at least `shortest`; None when there is no room."""
    half = pool.budget // 2
    tiers = (
        (slab, half // 4),
        (slab // 2, half // 2),
        (slab // 4, half * 9 // 16),
        (SMALL_SLAB, half * 11 // 16),
        (SMALLEST_SLAB, half),
    )
    for size, within in tiers:
        share = pool.admit(max(min(size, slab), shortest), within=within)
        if share is not None:
            return share
    return None
