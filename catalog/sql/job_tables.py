"""The tables of tasks, and of the jobs that are their work."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from catalog.sql.tables import metadata

tasks: Final = Table(
    "tasks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("type", String(30), nullable=False),
    Column("status", String(30), nullable=False),
    Column("owner", String(255)),
    # No foreign key: a task outlives its image.
    Column("image_id", String(36)),
    Column("user_id", String(255)),
    Column("request_id", String(64)),
    Column("input", JSON, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("message", Text, nullable=False),
    Column("whole_message", Text),
    Column("progress", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
)
Index(None, tasks.c.created_at, tasks.c.id)
Index(None, tasks.c.owner, tasks.c.created_at, tasks.c.id)
Index(None, tasks.c.image_id, tasks.c.created_at, tasks.c.id)
Index(None, tasks.c.status)
Index(None, tasks.c.expires_at)

jobs: Final = Table(
    "jobs",
    metadata,
    # The task's. A row is there while there is something to do, and claimed while claim_id says by whom.
    Column("id", String(36), primary_key=True),
    Column("kind", String(30), nullable=False),
    Column("lock", String(64)),
    Column("run_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("claim_id", String(64)),
    Column("process", String(64)),
    Column("heard_at", BigInteger),
    Column("owner", String(255), nullable=False, server_default=""),
    # In the slow lane alone.
    Column("turn", BigInteger),
)
Index("ix_jobs_quick", jobs.c.run_at, sqlite_where=jobs.c.turn.is_(None))
Index("ix_jobs_turn", jobs.c.turn, sqlite_where=jobs.c.turn.is_not(None))
Index("ix_jobs_owner_turn", jobs.c.owner, jobs.c.turn, sqlite_where=jobs.c.turn.is_not(None))
Index(None, jobs.c.lock)
Index(None, jobs.c.claim_id)
