"""Bytes that are not an image's: staged ones, and copies in stores that are written or to be removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "staged",
        sa.Column("id", sa.String(64), sa.ForeignKey("pins.id", ondelete="CASCADE"), nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("manifest", sa.String(32), sa.ForeignKey("manifests.id"), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("os_hash_algo", sa.String(64), nullable=False),
        sa.Column("os_hash_value", sa.String(128)),
        sa.Column("checksum", sa.String(32)),
        sa.Column("virtual_size", sa.BigInteger),
        sa.Column("changed_size", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_staged"),
    )
    op.create_index("ix_staged_image_id", "staged", ["image_id"])
    op.create_index("ix_staged_manifest", "staged", ["manifest"])
    op.create_table(
        "loose_copies",
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("store", sa.String(255), nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("process", sa.String(64), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("url", name="pk_loose_copies"),
    )
    op.create_index("ix_loose_copies_state_store_since", "loose_copies", ["state", "store", "since"])
    op.create_index("ix_image_locations_store_image_id", "image_locations", ["store", "image_id"])
    op.create_index("ix_image_locations_status", "image_locations", ["status"])
