"""What alembic runs: the migrations, on the connection and within the transaction that `migrate` hands over."""

from __future__ import annotations

from alembic import context

from catalog.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
