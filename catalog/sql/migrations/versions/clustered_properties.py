"""Properties and tags are kept in the order of their keys: an image's stand together, and indexes have their images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _new_table(
        "image_properties",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.execute(
        "INSERT INTO new_image_properties (image_id, name, value)"
        " SELECT image_id, name, value FROM image_properties ORDER BY image_id, name"
    )
    _replace("image_properties")
    op.create_index("ix_image_properties_name_value", "image_properties", ["name", "value"])
    _new_table("image_tags", sa.Column("tag", sa.String(255), nullable=False))
    op.execute("INSERT INTO new_image_tags (image_id, tag) SELECT image_id, tag FROM image_tags ORDER BY image_id, tag")
    _replace("image_tags")
    op.create_index("ix_image_tags_tag", "image_tags", ["tag"])
    # A clock that was set back could have said so; lists rely on it.
    op.execute("UPDATE images SET updated_at = created_at WHERE updated_at < created_at")


def _new_table(name: str, key: sa.Column[str], *others: sa.Column[str]) -> None:
    op.create_table(
        f"new_{name}",
        sa.Column("image_id", sa.String(36), nullable=False),
        key,
        *others,
        sa.PrimaryKeyConstraint("image_id", key.name, name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=f"fk_{name}_image_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )


def _replace(name: str) -> None:
    op.drop_table(name)
    op.rename_table(f"new_{name}", name)
