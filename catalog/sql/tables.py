"""The catalog's tables. Times are whole microseconds since 1970-01-01 UTC, sizes bytes.

The schema of a database comes from `migrations/` alone; a test holds the two together.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

images: Final = Table(
    "images",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255)),
    Column("status", String(30), nullable=False),
    Column("visibility", String(30), nullable=False),
    Column("owner", String(255)),
    Column("protected", Boolean, nullable=False),
    Column("os_hidden", Boolean, nullable=False),
    Column("disk_format", String(30)),
    Column("container_format", String(30)),
    Column("min_disk", Integer, nullable=False),
    Column("min_ram", Integer, nullable=False),
    Column("size", BigInteger),
    Column("virtual_size", BigInteger),
    Column("checksum", String(32)),
    Column("os_hash_algo", String(64)),
    Column("os_hash_value", String(128)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # Who writes, or wrote, the bytes: kept after the commit, which is thereby idempotent.
    Column("upload_id", String(64)),
    Column("upload_kind", String(16)),
    Column("upload_process", String(64)),
    # No foreign key: lineage stays when the parent goes.
    Column("parent_image_ref", String(36)),
    Column("changed_size", BigInteger),
)

# Each ends with created_at and id: a page of any order, or of one value in the default order, is read off one of them
# without sorting. Which of them a listing uses is decided in `listing.py`.
Index(None, images.c.created_at, images.c.id)
for _name in (
    "updated_at", "name", "status", "container_format", "disk_format", "size", "virtual_size", "min_disk", "min_ram",
    "visibility", "checksum", "os_hash_value", "parent_image_ref", "protected", "os_hash_algo",
):  # fmt: skip
    Index(None, images.c[_name], images.c.created_at, images.c.id)
# In order of age, what changed long ago comes last: a walk to there needs no look at the images themselves.
for _name in ("os_hidden", "owner"):
    Index(None, images.c[_name], images.c.created_at, images.c.id, images.c.updated_at)
# What a caller sees is the own images and the public ones: with a name or a status, and in the order of names, too.
for _whose in ("owner", "visibility"):
    for _name in ("name", "status"):
        Index(None, images.c[_whose], images.c[_name], images.c.created_at, images.c.id)
# The own ones of one visibility: nearly all images are `shared`, which is what none was chosen for.
Index(None, images.c.owner, images.c.visibility, images.c.created_at, images.c.id)

deleted_images: Final = Table(
    "deleted_images",
    metadata,
    # An id is an ETag and stands in clients' caches: it never names other bytes.
    Column("id", String(36), primary_key=True),
    Column("deleted_at", BigInteger, nullable=False),
    # Whose it was: they may be told that it is too late to bring it back.
    Column("owner", String(255)),
)

kept_images: Final = Table(
    "kept_images",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255)),
    Column("owner", String(255)),
    Column("status", String(30), nullable=False),
    Column("size", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=False),
    # All that the deleted image was: of `images` and of every table that refers to it, the rows by the table's name.
    Column("rows", JSON, nullable=False),
)
Index(None, kept_images.c.deleted_at, kept_images.c.id)
Index(None, kept_images.c.owner, kept_images.c.deleted_at, kept_images.c.id)


def _of_image() -> Column[str]:
    return Column("image_id", String(36), ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)


# Kept in the order of their keys, without row numbers: a list reads an image's properties and tags from one place, and
# their indexes have the image's id.
image_properties: Final = Table(
    "image_properties",
    metadata,
    _of_image(),
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index(None, image_properties.c.name, image_properties.c.value)

image_tags: Final = Table(
    "image_tags",
    metadata,
    _of_image(),
    Column("tag", String(255), primary_key=True),
    sqlite_with_rowid=False,
)
Index(None, image_tags.c.tag)

image_members: Final = Table(
    "image_members",
    metadata,
    _of_image(),
    Column("member", String(255), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # The image's, which never changes: so what is shared with a project is read off one index in order of age.
    Column("image_created_at", BigInteger, nullable=False),
)
Index(
    None,
    image_members.c.member,
    image_members.c.status,
    image_members.c.image_created_at,
    image_members.c.image_id,
)

manifests: Final = Table(
    "manifests",
    metadata,
    # The file's name: random, never used again. The digest is not unique: two images may be equal.
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("base", String(32), ForeignKey("manifests.id")),
    Column("depth", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("listed", BigInteger),
)
Index(None, manifests.c.base)
Index(None, manifests.c.state)

image_locations: Final = Table(
    "image_locations",
    metadata,
    _of_image(),
    Column("position", Integer, primary_key=True),
    Column("url", Text, nullable=False),
    Column("store", String(255), nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("manifest", String(32), ForeignKey("manifests.id")),
    Column("status", String(16), nullable=False),
)
Index(None, image_locations.c.manifest)
Index(None, image_locations.c.store, image_locations.c.image_id)
Index(None, image_locations.c.status)

kept_locations: Final = Table(
    "kept_locations",
    metadata,
    # What a kept image needs of our own store: named here, so that it stays.
    Column("image_id", String(36), ForeignKey("kept_images.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("manifest", String(32), ForeignKey("manifests.id"), nullable=False),
    Column("url", Text, nullable=False),
)
Index(None, kept_locations.c.manifest)

pins: Final = Table(
    "pins",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(255)),
    Column("kind", String(16), nullable=False),
    # No foreign key: a pin's deletion is said, never implied.
    Column("image_id", String(36), nullable=False),
    Column("process", String(64), nullable=False),
    Column("upload_id", String(64), nullable=False),
    Column("expires_at", BigInteger),
    Column("state", String(16), nullable=False),
    # Bytes of the owner's quotas, for as long as the row is there.
    Column("reserved", BigInteger, nullable=False, server_default="0"),
)
Index(None, pins.c.owner)
Index(None, pins.c.image_id)
Index(None, pins.c.expires_at)

pin_bases: Final = Table(
    "pin_bases",
    metadata,
    Column("pin_id", String(64), ForeignKey("pins.id", ondelete="CASCADE"), primary_key=True),
    Column("manifest_id", String(32), ForeignKey("manifests.id"), primary_key=True),
)
Index(None, pin_bases.c.manifest_id)

deltas: Final = Table(
    "deltas",
    metadata,
    Column("id", String(64), ForeignKey("pins.id", ondelete="CASCADE"), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("block_size", Integer, nullable=False),
    # No foreign key: the base is what the pin holds, whatever becomes of the image.
    Column("base_image", String(36)),
    # So many requests were acknowledged: a commit that has not seen all of them is made again.
    Column("requests", BigInteger, nullable=False),
    # And so many records of the journal: with fewer it is damaged, not torn.
    Column("records", BigInteger, nullable=False, server_default="0"),
)

quotas: Final = Table(
    "quotas",
    metadata,
    # What was said by hand; the empty name stands for all that have no row. Null: nothing; -1: unlimited.
    Column("project", String(255), primary_key=True),
    Column("images", BigInteger),
    Column("bytes", BigInteger),
    Column("uploads", BigInteger),
    Column("staged_bytes", BigInteger),
)

project_usage: Final = Table(
    "project_usage",
    metadata,
    # Kept by triggers on `images`, which its migration makes: nothing here writes it.
    Column("project", String(255), primary_key=True),
    Column("images", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
