"""Jobs tell whose they are and, in the slow lane, when it is their project's turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SLOW = "kind IN ('api_image_import', 'import', 'location_import')"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("owner", sa.String(255), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("turn", sa.BigInteger))
    op.execute("UPDATE jobs SET owner = coalesce((SELECT owner FROM tasks WHERE tasks.id = jobs.id), '')")
    op.execute(f"UPDATE jobs SET turn = 0 WHERE {_SLOW}")  # noqa: S608  # a constant
    op.drop_index("ix_jobs_run_at", "jobs")
    op.create_index("ix_jobs_quick", "jobs", ["run_at"], sqlite_where=sa.text("turn IS NULL"))
    op.create_index("ix_jobs_turn", "jobs", ["turn"], sqlite_where=sa.text("turn IS NOT NULL"))
    op.create_index("ix_jobs_owner_turn", "jobs", ["owner", "turn"], sqlite_where=sa.text("turn IS NOT NULL"))
