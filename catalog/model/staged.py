"""Bytes that lie in the block store and are not yet an image's: what an import begins with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Whole bytes for an image, under a pin with this `id` that holds `manifest`.

    It is made in the transaction that makes the manifest's row, and goes with its pin. Sizes in bytes; the hashes are
    hex, None while nobody has computed them; `changed_size` and `virtual_size` as `Contents` has them.
    """

    id: str
    image_id: str
    manifest: str
    size: int
    os_hash_algo: str
    os_hash_value: str | None = None
    checksum: str | None = None
    virtual_size: int | None = None
    changed_size: int | None = None
