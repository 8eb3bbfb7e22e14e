"""The tables of bytes that are not an image's: staged ones, and copies in stores."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text

from catalog.sql.tables import metadata

staged: Final = Table(
    "staged",
    metadata,
    # Its pin's, whose end is its end.
    Column("id", String(64), ForeignKey("pins.id", ondelete="CASCADE"), primary_key=True),
    # No foreign key, as its pin has none.
    Column("image_id", String(36), nullable=False),
    Column("manifest", String(32), ForeignKey("manifests.id"), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("os_hash_algo", String(64), nullable=False),
    Column("os_hash_value", String(128)),
    Column("checksum", String(32)),
    Column("virtual_size", BigInteger),
    Column("changed_size", BigInteger),
)
Index(None, staged.c.image_id)
Index(None, staged.c.manifest)

loose_copies: Final = Table(
    "loose_copies",
    metadata,
    Column("url", Text, primary_key=True),
    Column("store", String(255), nullable=False),
    # No foreign key: a copy that is to be removed outlives its image.
    Column("image_id", String(36), nullable=False),
    # The job or the upload that writes it, and the lock of its process.
    Column("holder", String(64), nullable=False),
    Column("process", String(64), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
)
Index(None, loose_copies.c.state, loose_copies.c.store, loose_copies.c.since)
