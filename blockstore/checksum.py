"""Quick sums that notice accidents, never enemies: XXH3-64. The one home of xxhash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from typing_extensions import Buffer


def xxh3(data: Buffer) -> int:
    """The XXH3 64-bit sum of `data`, as an unsigned integer."""
    return xxhash.xxh3_64_intdigest(data)
