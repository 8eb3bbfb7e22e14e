"""The size of what is staged is its image's, and counts for its project by its pin alone until it has come."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _counted(row: str) -> str:
    return f"CASE WHEN {row}.status IN ('uploading', 'importing') THEN 0 ELSE coalesce({row}.size, 0) END"


_NEW, _OLD = _counted("NEW"), _counted("OLD")

_ADDED = f"""
CREATE TRIGGER project_usage_added AFTER INSERT ON images WHEN NEW.owner IS NOT NULL BEGIN
    INSERT INTO project_usage (project, images, bytes) VALUES (NEW.owner, 1, {_NEW})
    ON CONFLICT (project) DO UPDATE SET images = images + 1, bytes = bytes + excluded.bytes;
END
"""  # noqa: S608  # constants

_REMOVED = f"""
CREATE TRIGGER project_usage_removed AFTER DELETE ON images WHEN OLD.owner IS NOT NULL BEGIN
    UPDATE project_usage SET images = images - 1, bytes = bytes - {_OLD} WHERE project = OLD.owner;
END
"""  # noqa: S608  # constants

# An upload under way goes along with its image: who has the bytes once they are there, has what is reserved for them.
_CHANGED = f"""
CREATE TRIGGER project_usage_changed AFTER UPDATE OF owner, size, status ON images
WHEN OLD.owner IS NOT NEW.owner OR {_OLD} IS NOT {_NEW} BEGIN
    UPDATE project_usage SET images = images - 1, bytes = bytes - {_OLD} WHERE project = OLD.owner;
    INSERT INTO project_usage (project, images, bytes)
    SELECT NEW.owner, 1, {_NEW} WHERE NEW.owner IS NOT NULL
    ON CONFLICT (project) DO UPDATE SET images = images + 1, bytes = bytes + excluded.bytes;
    UPDATE pins SET owner = NEW.owner WHERE image_id = NEW.id AND owner IS NOT NEW.owner;
END
"""  # noqa: S608  # constants


def upgrade() -> None:
    for name in ("added", "removed", "changed"):
        op.execute(f"DROP TRIGGER project_usage_{name}")
    for trigger in (_ADDED, _REMOVED, _CHANGED):
        op.execute(trigger)
