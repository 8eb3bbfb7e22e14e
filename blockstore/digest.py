"""What a block is called: BLAKE3-256 of its raw bytes. The one home of blake3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blake3 import blake3

if TYPE_CHECKING:
    from typing_extensions import Buffer

SIZE: Final = 32
PLAIN: Final = 0
"""Digest scheme 0: the plain hash. Scheme 1 (keyed by project) has its number reserved and is refused."""

HOLE: Final = bytes(SIZE)
"""Stands for an all-zero block in manifests; no bytes are known that hash to it."""


def digest(data: Buffer) -> bytes:
    """The 32-byte BLAKE3 of `data`; frees the GIL from 2 KiB on."""
    return blake3(data).digest()
