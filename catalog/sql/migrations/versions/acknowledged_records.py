"""How much of a delta upload's journal was acknowledged; of one under way that is known with its next request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deltas", sa.Column("records", sa.BigInteger, nullable=False, server_default="0"))
