"""Quick sums that notice accidents, never enemies: XXH3-64. The one home of xxhash."""

from __future__ import annotations

from typing import Final

import xxhash

xxh3: Final = xxhash.xxh3_64_intdigest
"""The XXH3 64-bit sum of a buffer, as an unsigned integer. (The library's function itself: it is called per block.)"""
