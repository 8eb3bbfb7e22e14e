"""Deleted images that can be brought back, and whose a deleted one was; of those deleted before, nobody knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deleted_images", sa.Column("owner", sa.String(255)))
    op.create_table(
        "kept_images",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("owner", sa.String(255)),
        sa.Column("status", sa.String(30), nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_kept_images"),
    )
    op.create_index("ix_kept_images_deleted_at_id", "kept_images", ["deleted_at", "id"])
    op.create_index("ix_kept_images_owner_deleted_at_id", "kept_images", ["owner", "deleted_at", "id"])
    op.create_table(
        "kept_locations",
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("manifest", sa.String(32), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("image_id", "position", name="pk_kept_locations"),
        sa.ForeignKeyConstraint(
            ["image_id"], ["kept_images.id"], name="fk_kept_locations_image_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["manifest"], ["manifests.id"], name="fk_kept_locations_manifest"),
    )
    op.create_index("ix_kept_locations_manifest", "kept_locations", ["manifest"])
