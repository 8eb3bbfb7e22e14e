"""Names of packs, manifests, pins, leases and processes: 128 bits, sortable by time, random, never used again.

A name is never a hash of what it names: so no late deletion of an old file can ever hit a new one.
"""

from __future__ import annotations

import secrets
from typing import Final

from blockstore import clock

SIZE: Final = 16


def new_name() -> bytes:
    """16 bytes: 48 bits of milliseconds since 1970, big-endian, then 80 random bits (the layout of a ULID)."""
    return (clock.now_us() // 1000).to_bytes(6, "big") + secrets.token_bytes(10)


def made_at(name: bytes) -> int:
    """When the name was made, in microseconds since 1970 UTC."""
    return int.from_bytes(name[:6], "big") * 1000


def fan_out(name: str) -> str:
    """The directory for a file with this name: its last two hex digits, since the first ones are the time's."""
    return name[-2:]
