"""Images to rows and back: plain functions, one place for each column's meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from catalog.model.image import Image, Status, Upload, Visibility
from catalog.model.pin import UploadKind
from catalog.sql.tables import images
from catalog.sql.times import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Row

    from catalog.model.location import Location

# Of the same names as an image's attributes, but for those of its upload.
_COLUMNS: Final = tuple(images.c.keys())
_OF_UPLOAD: Final = ("upload_id", "upload_kind", "upload_process")


def image_row(image: Image) -> dict[str, object]:
    """The row of `images` for an image."""
    upload = image.upload
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status.value,
        "visibility": image.visibility.value,
        "owner": image.owner,
        "protected": image.protected,
        "os_hidden": image.os_hidden,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "parent_image_ref": image.parent_image_ref,
        "size": image.size,
        "changed_size": image.changed_size,
        "virtual_size": image.virtual_size,
        "checksum": image.checksum,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "created_at": to_us(image.created_at),
        "updated_at": to_us(image.updated_at),
        "upload_id": upload.id if upload else None,
        "upload_kind": upload.kind.value if upload else None,
        "upload_process": upload.process if upload else None,
    }


def property_rows(image: Image) -> Iterator[dict[str, object]]:
    """The rows of `image_properties` for an image."""
    return ({"image_id": image.id, "name": name, "value": value} for name, value in image.properties.items())


def tag_rows(image: Image) -> Iterator[dict[str, object]]:
    """The rows of `image_tags` for an image."""
    return ({"image_id": image.id, "tag": tag} for tag in image.tags)


def location_rows(image: Image) -> Iterator[dict[str, object]]:
    """The rows of `image_locations` for an image, in order."""
    return (
        {
            "image_id": image.id,
            "position": position,
            "url": location.url,
            "store": location.store,
            "metadata": dict(location.metadata),
            "manifest": location.manifest,
            "status": location.status,
        }
        for position, location in enumerate(image.locations)
    )


def image_of(
    row: Row[*tuple[Any, ...]],
    properties: Mapping[str, str],
    tags: Collection[str],
    locations: Sequence[Location],
    members: Collection[str],
) -> Image:
    """The image whose row begins with all columns of `images`, with what the tables beside it say."""
    # Not by attributes of the row: a lookup of each takes SQLAlchemy a microsecond.
    told = dict(zip(_COLUMNS, row, strict=False))
    upload_id, kind, process = (told.pop(name) for name in _OF_UPLOAD)
    told["status"] = Status(told["status"])
    told["visibility"] = Visibility(told["visibility"])
    told["created_at"] = from_us(told["created_at"])
    told["updated_at"] = from_us(told["updated_at"])
    return Image(
        **told,
        properties=dict(properties),
        tags=frozenset(tags),
        members=frozenset(members),
        locations=tuple(locations),
        upload=None if upload_id is None else Upload(upload_id, UploadKind(kind), process),
    )


def upload_of(row: Row[*tuple[Any, ...]]) -> Upload:
    """The upload that a row of `images` names."""
    return Upload(id=row.upload_id, kind=UploadKind(row.upload_kind), process=row.upload_process)
