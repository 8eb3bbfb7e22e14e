"""The two flags and the name of a hash lead to images, too; when an image changed stands beside its project and age."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("protected", "os_hash_algo"):
        op.create_index(f"ix_images_{name}_created_at_id", "images", [name, "created_at", "id"])
    for name in ("os_hidden", "owner"):
        columns = [name, "created_at", "id", "updated_at"]
        op.create_index(f"ix_images_{'_'.join(columns)}", "images", columns)
    op.drop_index("ix_images_owner_created_at_id", "images")
