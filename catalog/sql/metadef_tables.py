"""The tables of metadata definitions, beside those of `tables.py`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from catalog.sql.tables import metadata

namespaces: Final = Table(
    "metadef_namespaces",
    metadata,
    # Counts up and is shown to nobody: names can change.
    Column("id", Integer, primary_key=True),
    Column("namespace", String(80), nullable=False),
    Column("display_name", String(80)),
    Column("description", String(500)),
    Column("visibility", String(16), nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("owner", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index(None, namespaces.c.namespace, unique=True)

parts: Final = Table(
    "metadef_parts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace_id", Integer, ForeignKey("metadef_namespaces.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", String(80), nullable=False),
    # All that is said of it beside its name, as JSON text.
    Column("content", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index(None, parts.c.namespace_id, parts.c.kind, parts.c.name, unique=True)
Index(None, parts.c.kind, parts.c.name, parts.c.namespace_id)

resource_types: Final = Table(
    "metadef_resource_types",
    metadata,
    # They stay when no namespace is associated with them any more: to be offered again.
    Column("id", Integer, primary_key=True),
    Column("name", String(80), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index(None, resource_types.c.name, unique=True)
