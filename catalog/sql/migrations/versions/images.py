"""Images and what belongs to them, manifests, pins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ORDERED = (
    "updated_at", "name", "status", "container_format", "disk_format", "size", "virtual_size", "min_disk", "min_ram",
    "owner", "visibility", "checksum", "os_hash_value",
)  # fmt: skip


def upgrade() -> None:
    _images()
    _parts_of_images()
    _manifests_and_locations()
    _pins()


def _images() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("status", sa.String(30), nullable=False),
        sa.Column("visibility", sa.String(30), nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("protected", sa.Boolean, nullable=False),
        sa.Column("os_hidden", sa.Boolean, nullable=False),
        sa.Column("disk_format", sa.String(30)),
        sa.Column("container_format", sa.String(30)),
        sa.Column("min_disk", sa.Integer, nullable=False),
        sa.Column("min_ram", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("virtual_size", sa.BigInteger),
        sa.Column("checksum", sa.String(32)),
        sa.Column("os_hash_algo", sa.String(64)),
        sa.Column("os_hash_value", sa.String(128)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("upload_id", sa.String(64)),
        sa.Column("upload_kind", sa.String(16)),
        sa.Column("upload_process", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
    )
    op.create_index("ix_images_created_at_id", "images", ["created_at", "id"])
    for name in _ORDERED:
        op.create_index(f"ix_images_{name}_created_at_id", "images", [name, "created_at", "id"])
    for whose in ("owner", "visibility"):
        for name in ("name", "status"):
            op.create_index(f"ix_images_{whose}_{name}_created_at_id", "images", [whose, name, "created_at", "id"])
    op.create_table(
        "deleted_images",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("deleted_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_images"),
    )


def _of_image(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    return sa.Column("image_id", sa.String(36), nullable=False), sa.ForeignKeyConstraint(
        ["image_id"], ["images.id"], name=f"fk_{table}_image_id", ondelete="CASCADE"
    )


def _parts_of_images() -> None:
    op.create_table(
        "image_properties",
        *_of_image("image_properties"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("image_id", "name", name="pk_image_properties"),
    )
    op.create_index("ix_image_properties_name_value", "image_properties", ["name", "value"])
    op.create_table(
        "image_tags",
        *_of_image("image_tags"),
        sa.Column("tag", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("image_id", "tag", name="pk_image_tags"),
    )
    op.create_index("ix_image_tags_tag", "image_tags", ["tag"])


def _manifests_and_locations() -> None:
    op.create_table(
        "manifests",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("base", sa.String(32)),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_manifests"),
        sa.ForeignKeyConstraint(["base"], ["manifests.id"], name="fk_manifests_base"),
    )
    op.create_index("ix_manifests_base", "manifests", ["base"])
    op.create_index("ix_manifests_state", "manifests", ["state"])
    op.create_table(
        "image_locations",
        *_of_image("image_locations"),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("store", sa.String(255), nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("manifest", sa.String(32)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("image_id", "position", name="pk_image_locations"),
        sa.ForeignKeyConstraint(["manifest"], ["manifests.id"], name="fk_image_locations_manifest"),
    )
    op.create_index("ix_image_locations_manifest", "image_locations", ["manifest"])


def _pins() -> None:
    op.create_table(
        "pins",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("process", sa.String(64), nullable=False),
        sa.Column("upload_id", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pins"),
    )
    op.create_index("ix_pins_image_id", "pins", ["image_id"])
    op.create_index("ix_pins_expires_at", "pins", ["expires_at"])
    op.create_table(
        "pin_bases",
        sa.Column("pin_id", sa.String(64), nullable=False),
        sa.Column("manifest_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("pin_id", "manifest_id", name="pk_pin_bases"),
        sa.ForeignKeyConstraint(["pin_id"], ["pins.id"], name="fk_pin_bases_pin_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["manifest_id"], ["manifests.id"], name="fk_pin_bases_manifest_id"),
    )
    op.create_index("ix_pin_bases_manifest_id", "pin_bases", ["manifest_id"])
