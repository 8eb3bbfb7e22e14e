"""Projects that an image is shared with; a project's images of one visibility."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_images_owner_visibility_created_at_id", "images", ["owner", "visibility", "created_at", "id"])
    op.create_table(
        "image_members",
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("member", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("image_created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("image_id", "member", name="pk_image_members"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_image_members_image_id", ondelete="CASCADE"),
    )
    op.create_index(
        "ix_image_members_member_status_image_created_at_image_id",
        "image_members",
        ["member", "status", "image_created_at", "image_id"],
    )
