"""Where an image came from and how much of it is new, and how much each manifest lists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("images", sa.Column("parent_image_ref", sa.String(36)))
    op.add_column("images", sa.Column("changed_size", sa.BigInteger))
    op.create_index("ix_images_parent_image_ref_created_at_id", "images", ["parent_image_ref", "created_at", "id"])
    op.add_column("manifests", sa.Column("listed", sa.BigInteger))
