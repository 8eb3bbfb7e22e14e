"""What projects may have and what they have: quotas, counters kept by triggers, bytes that uploads reserve."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ADDED = """
CREATE TRIGGER project_usage_added AFTER INSERT ON images WHEN NEW.owner IS NOT NULL BEGIN
    INSERT INTO project_usage (project, images, bytes) VALUES (NEW.owner, 1, coalesce(NEW.size, 0))
    ON CONFLICT (project) DO UPDATE SET images = images + 1, bytes = bytes + excluded.bytes;
END
"""

_REMOVED = """
CREATE TRIGGER project_usage_removed AFTER DELETE ON images WHEN OLD.owner IS NOT NULL BEGIN
    UPDATE project_usage SET images = images - 1, bytes = bytes - coalesce(OLD.size, 0) WHERE project = OLD.owner;
END
"""

# An upload under way goes along with its image: who has the bytes once they are there, has what is reserved for them.
_CHANGED = """
CREATE TRIGGER project_usage_changed AFTER UPDATE OF owner, size ON images
WHEN OLD.owner IS NOT NEW.owner OR OLD.size IS NOT NEW.size BEGIN
    UPDATE project_usage SET images = images - 1, bytes = bytes - coalesce(OLD.size, 0) WHERE project = OLD.owner;
    INSERT INTO project_usage (project, images, bytes)
    SELECT NEW.owner, 1, coalesce(NEW.size, 0) WHERE NEW.owner IS NOT NULL
    ON CONFLICT (project) DO UPDATE SET images = images + 1, bytes = bytes + excluded.bytes;
    UPDATE pins SET owner = NEW.owner WHERE image_id = NEW.id AND owner IS NOT NEW.owner;
END
"""


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("project", sa.String(255), nullable=False),
        sa.Column("images", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("uploads", sa.BigInteger),
        sa.Column("staged_bytes", sa.BigInteger),
        sa.PrimaryKeyConstraint("project", name="pk_quotas"),
    )
    op.create_table(
        "project_usage",
        sa.Column("project", sa.String(255), nullable=False),
        sa.Column("images", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_project_usage"),
    )
    op.add_column("pins", sa.Column("reserved", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("ix_pins_owner", "pins", ["owner"])
    op.execute(
        "INSERT INTO project_usage (project, images, bytes) "
        "SELECT owner, count(*), coalesce(sum(size), 0) FROM images WHERE owner IS NOT NULL GROUP BY owner"
    )
    # Of what is under way, delta uploads alone go on over an upgrade.
    op.execute("UPDATE pins SET reserved = coalesce((SELECT size FROM deltas WHERE deltas.id = pins.id), 0)")
    for trigger in (_ADDED, _REMOVED, _CHANGED):
        op.execute(trigger)
