"""A catalog of very many images as a cloud has them, records alone: what listing, filtering and sorting see of one.

    python -m bench.many_images DATA [--images 100000]      a data directory whose catalog has so many images

Ten properties each, three of them of its own value; a fifth belongs to the project `LAB`, twenty images to `SMALL`, the
rest to a thousand others, which share some with these two. `MANY`, `FEW` and `NONE` are values that half of the images
have, thirty, and none. Their bytes are nowhere.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha512
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blockstore.store import BlockStore
from catalog.model.image import Image, Status, Visibility
from catalog.model.location import Location
from catalog.model.member import MemberStatus
from catalog.sql.image_rows import image_row, location_rows, property_rows, tag_rows
from catalog.sql.open import SCHEMA, open_catalog
from catalog.sql.times import to_us
from httpapi.settings import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IMAGES: Final = 100_000
LAB, SMALL = "lab", "small"
MANY, FEW, NONE = "many", "few", "none"
MIDDLE: Final = datetime(2025, 6, 1, tzinfo=UTC)
"""When the image in the middle was made; one every five minutes, as many before it as after it."""

_EVERY: Final = timedelta(minutes=5)
_FEW: Final = 30
_PROJECTS: Final = 1000
_RECIPE: Final = 2  # part of the cache's name
_TABLES: Final = ("images", "image_properties", "image_tags", "image_locations", "image_members")
_VISIBILITIES: Final = (
    [Visibility.SHARED] * 60 + [Visibility.PRIVATE] * 30 + [Visibility.COMMUNITY] * 7 + [Visibility.PUBLIC] * 3
)


def many_images(work: Path, count: int = IMAGES) -> Path:
    """A closed data directory with so many images; made once and kept: copy it before it is written to."""
    home = work / f"many-images-{count}-{SCHEMA}-{_RECIPE}"
    if not home.exists():
        making = work / f"{home.name}.making"
        shutil.rmtree(making, ignore_errors=True)
        BlockStore.open(making).close()
        open_catalog(making / CATALOG_FILE).close()
        fill(making / CATALOG_FILE, count)
        making.rename(home)
    return home


def fill(catalog: Path, count: int) -> None:
    """Put the images into an empty catalog: rows first, in the order in which they come to be, then the indexes."""
    with contextlib.closing(sqlite3.connect(catalog, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute("BEGIN")
        indexes = _without_indexes(connection)
        for image in images(count):
            _insert(connection, image)
        for index in indexes:
            connection.execute(index)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def images(count: int) -> Iterator[Image]:
    """The images, the oldest first; the same ones each time."""
    draw = random.Random(11)
    few = set(draw.sample(range(count), min(_FEW, count)))
    small = set(draw.sample(range(count), min(20, count)))
    for number in range(count):
        yield _image(draw, number, MIDDLE + (number - count // 2) * _EVERY, few=number in few, small=number in small)


def _image(draw: random.Random, number: int, made: datetime, *, few: bool, small: bool) -> Image:
    image_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
    digest = sha512(image_id.encode()).hexdigest()
    # Each of the filters is drawn by itself: no value tells another.
    half, other, project = draw.random() < 0.5, draw.random() < 0.5, draw.randrange(_PROJECTS)
    size = draw.randrange(1 << 20, 1 << 40)
    tags = {tag for tag, there in ((MANY, half), ("other", other), (FEW, few), (f"build-{number}", True)) if there}
    return Image(
        id=image_id,
        name=FEW if few else draw.choice([MANY, f"image {number}"]),
        owner=SMALL if small else LAB if draw.random() < 0.2 else f"project-{project}",
        status=draw.choices(list(_STATUSES), list(_STATUSES.values()))[0],
        visibility=draw.choice(_VISIBILITIES),
        protected=draw.random() < 0.5,
        os_hidden=draw.random() < 0.02,
        created_at=made,
        updated_at=made + timedelta(seconds=draw.randrange(1, 10**7)),
        disk_format=draw.choice(["raw", "qcow2", "iso"]),
        container_format=draw.choice(["bare", "bare", "docker"]),
        min_disk=draw.choice([0, 10, 20]),
        min_ram=draw.choice([0, 512, 2048]),
        size=size,
        virtual_size=size,
        checksum=md5(image_id.encode(), usedforsecurity=False).hexdigest(),
        os_hash_algo="sha512",
        os_hash_value=digest,
        locations=(Location(url=f"blocks:{image_id}", store="blocks"),),
        tags=frozenset(tags),
        properties={
            "os_distro": draw.choice([MANY, "alma", "debian"]),
            "os_version": str(draw.randrange(40)),
            "role": FEW if few else MANY,
            "architecture": draw.choice(["x86_64", "aarch64"]),
            "hw_disk_bus": draw.choice(["virtio", "scsi"]),
            "hw_vif_model": "virtio",
            "hw_qemu_guest_agent": draw.choice(["yes", "no"]),
            "owner_specified.openstack.md5": md5(digest.encode(), usedforsecurity=False).hexdigest(),
            "owner_specified.openstack.sha256": digest[:64],
            "owner_specified.openstack.object": f"images/image {number}",
        },
    )


_STATUSES: Final = {Status.ACTIVE: 95, Status.QUEUED: 4, Status.DEACTIVATED: 1}


def _without_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drop the indexes of the tables that are filled; how they are made."""
    found = connection.execute(
        f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        f" AND tbl_name IN ({', '.join('?' * len(_TABLES))})",
        _TABLES,
    ).fetchall()
    for name, _ in found:
        connection.execute(f'DROP INDEX "{name}"')
    return [sql for _, sql in found]


def _insert(connection: sqlite3.Connection, image: Image) -> None:
    _rows(connection, "images", [image_row(image)])
    _rows(connection, "image_properties", property_rows(image))
    _rows(connection, "image_tags", tag_rows(image))
    _rows(connection, "image_locations", ({**row, "metadata": "{}"} for row in location_rows(image)))

    _rows(connection, "image_members", _member_rows(image))


def _member_rows(image: Image) -> Iterator[dict[str, Any]]:
    """One image of eight is shared with `LAB`, one of thousands with `SMALL`; each answer comes."""
    number = int(image.id[:8], 16)
    for project, one_of in ((LAB, 8), (SMALL, 4000)):
        if number % one_of == 1 and image.visibility is Visibility.SHARED and image.owner != project:
            moment = to_us(image.created_at)
            yield {
                "image_id": image.id,
                "member": project,
                "status": list(MemberStatus)[number // one_of % 3].value,
                "created_at": moment,
                "updated_at": moment,
                "image_created_at": moment,
            }


def _rows(connection: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    if listed:
        columns = ", ".join(f'"{name}"' for name in listed[0])
        marks = ", ".join("?" * len(listed[0]))
        statement = f'INSERT INTO "{table}" ({columns}) VALUES ({marks})'
        connection.executemany(statement, [tuple(row.values()) for row in listed])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.many_images", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    wanted = parser.parse_args()
    wanted.data.mkdir(parents=True, exist_ok=True)
    print(many_images(wanted.data, wanted.images))


if __name__ == "__main__":
    main()
