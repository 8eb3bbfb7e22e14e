"""Counting what uploads were made of, once for each that became an image's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpapi.metrics.instruments import COPIES, STORED_BYTES, UPLOAD_BLOCKS, UPLOAD_BYTES, UPLOADS

if TYPE_CHECKING:
    from catalog.ports import Written


def uploaded(written: Written) -> None:
    """An upload is committed."""
    UPLOADS.inc()
    STORED_BYTES.inc(written.new_bytes)
    for kind, blocks in (("new", written.new_blocks), ("held", written.held_blocks), ("hole", written.hole_blocks)):
        UPLOAD_BLOCKS.labels(kind).inc(blocks)
    # Never below zero: what two uploads stored at one instant is told apart by the share of each.
    held = max(0, written.size - written.fresh_bytes - written.hole_bytes)
    for kind, size in (("new", written.fresh_bytes), ("held", held), ("hole", written.hole_bytes)):
        UPLOAD_BYTES.labels(kind).inc(size)


def copy_told(store: str, what: str) -> None:
    """Something happened to a copy in a store."""
    COPIES.labels(store, what).inc()
