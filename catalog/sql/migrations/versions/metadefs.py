"""Metadata definitions: namespaces, what they have, and types of resources."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metadef_namespaces",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("namespace", sa.String(80), nullable=False),
        sa.Column("display_name", sa.String(80)),
        sa.Column("description", sa.String(500)),
        sa.Column("visibility", sa.String(16), nullable=False),
        sa.Column("protected", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metadef_namespaces"),
    )
    op.create_index("ix_metadef_namespaces_namespace", "metadef_namespaces", ["namespace"], unique=True)
    op.create_table(
        "metadef_parts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("namespace_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metadef_parts"),
        sa.ForeignKeyConstraint(
            ["namespace_id"], ["metadef_namespaces.id"], name="fk_metadef_parts_namespace_id", ondelete="CASCADE"
        ),
    )
    op.create_index(
        "ix_metadef_parts_namespace_id_kind_name", "metadef_parts", ["namespace_id", "kind", "name"], unique=True
    )
    op.create_index("ix_metadef_parts_kind_name_namespace_id", "metadef_parts", ["kind", "name", "namespace_id"])
    op.create_table(
        "metadef_resource_types",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metadef_resource_types"),
    )
    op.create_index("ix_metadef_resource_types_name", "metadef_resource_types", ["name"], unique=True)
