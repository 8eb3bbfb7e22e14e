"""Images with what belongs to them, one row each: properties, tags, members, locations.

The database gathers each image's parts into JSON: a thousand images of ten properties are a thousand rows, not twelve
thousand, and each row costs Python an object and a turn of the interpreter's lock.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, bindparam, func, select

from catalog import quick_json
from catalog.model.location import Location
from catalog.sql.conditions import LeftFirst
from catalog.sql.image_rows import image_of
from catalog.sql.tables import image_locations, image_members, image_properties, image_tags, images

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Select

    from catalog.model.image import Image


def whole_image(connection: Connection, image_id: str) -> Image | None:
    """The image, or None."""
    with closing(_read(connection, _WHOLE, {"ids": json.dumps([image_id])})) as found:
        return next((image for image, _ in found), None)


def listed_images(
    connection: Connection, ids: Sequence[str], *, project: str, places: bool
) -> AbstractContextManager[Iterator[tuple[Image, int]]]:
    """These images as a list has them, in their order, by one statement; of members only `project`.

    Without their locations unless `places` says so: most lists tell of none, and each costs.

    Beside each about how many bytes its properties and tags have in UTF-8. Who stops early has read no more than that
    from the database.
    """
    statement = _LISTED_WITH_PLACES if places else _LISTED
    return closing(_read(connection, statement, {"ids": json.dumps(ids), "project": project}))


def _read(
    connection: Connection, statement: Select[*tuple[Any, ...]], asked: Mapping[str, str]
) -> Generator[tuple[Image, int]]:
    last = -1
    with connection.execute(statement, asked) as rows:
        for row in rows:
            number, properties, tags, members, *places = row[_BEHIND_COLUMNS]
            assert number > last, "an array's elements come in its order"
            last = number
            # One text, since a call for each takes as long as what it reads.
            its, their, who = quick_json.read(f"[{properties},{tags},{members}]")
            locations = _locations(*places) if places else ()
            yield image_of(row, its, their, locations, who), len(properties.encode()) + len(tags.encode())


def _locations(text: str) -> list[Location]:
    return [Location(*place) for _, *place in sorted(json.loads(text), key=lambda place: place[0])]


_BEHIND_COLUMNS: Final = slice(len(images.c), None)


def _statement(*, all_members: bool, places: bool) -> Select[*tuple[Any, ...]]:
    each = func.json_each(bindparam("ids", type_=Text)).table_valued("key", "value")
    found = LeftFirst(each, images, images.c.id == each.c.value)
    members = select(func.json_group_array(image_members.c.member)).where(image_members.c.image_id == images.c.id)
    if not all_members:
        members = members.where(image_members.c.member == bindparam("project", type_=Text))
    its = image_properties.c
    gathered = [
        select(func.json_group_object(its.name, its.value)).where(its.image_id == images.c.id),
        select(func.json_group_array(image_tags.c.tag)).where(image_tags.c.image_id == images.c.id),
        members,
    ]
    if places:
        place = image_locations.c
        location = func.json_array(
            place.position, place.url, place.store, func.json(place.metadata), place.manifest, place.status
        )
        gathered.append(select(func.json_group_array(location)).where(place.image_id == images.c.id))
    return select(images, each.c.key, *(parts.scalar_subquery() for parts in gathered)).select_from(found)


_WHOLE: Final = _statement(all_members=True, places=True)
_LISTED: Final = _statement(all_members=False, places=False)
_LISTED_WITH_PLACES: Final = _statement(all_members=False, places=True)
