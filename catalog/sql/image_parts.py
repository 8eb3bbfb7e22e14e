"""What belongs to images, read with one row an image: properties, tags, locations and members.

The database gathers each image's parts into JSON: a thousand images of ten properties are a thousand rows, not twelve
thousand, and each row costs Python an object and a turn of the interpreter's lock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, bindparam, func, select

from catalog.model.location import Location
from catalog.sql.tables import image_locations, image_members, image_properties, image_tags

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from sqlalchemy import Connection, Select


@dataclass(frozen=True, slots=True)
class ImageParts:
    """What belongs to one image; `text_bytes` is about how many bytes its properties and tags have in UTF-8."""

    properties: Mapping[str, str]
    tags: Sequence[str]
    locations: Sequence[Location]
    members: Sequence[str]
    text_bytes: int


def parts_of(connection: Connection, ids: Sequence[str], *, project: str | None) -> Generator[ImageParts]:
    """The parts of each of these images, in their order, by one statement; of members only `project`, None for all.

    Who stops early has read no more than that from the database.
    """
    statement, known = (_ALL_MEMBERS, {}) if project is None else (_ONE_MEMBER, {"project": project})
    with connection.execute(statement, {"ids": json.dumps(ids), **known}) as rows:
        for number, (key, properties, tags, locations, members) in enumerate(rows):
            assert key == number, "an array's elements come in its order"
            yield ImageParts(
                json.loads(properties),
                json.loads(tags),
                [Location(*place) for _, *place in sorted(json.loads(locations), key=lambda place: place[0])],
                json.loads(members),
                text_bytes=len(properties.encode()) + len(tags.encode()),
            )


def _statement(*, one_member: bool) -> Select[*tuple[Any, ...]]:
    each = func.json_each(bindparam("ids", type_=Text)).table_valued("key", "value")
    place = image_locations.c
    location = func.json_array(
        place.position, place.url, place.store, func.json(place.metadata), place.manifest, place.status
    )
    members = select(func.json_group_array(image_members.c.member)).where(image_members.c.image_id == each.c.value)
    if one_member:
        members = members.where(image_members.c.member == bindparam("project", type_=Text))
    gathered = (
        select(func.json_group_object(image_properties.c.name, image_properties.c.value)).where(
            image_properties.c.image_id == each.c.value
        ),
        select(func.json_group_array(image_tags.c.tag)).where(image_tags.c.image_id == each.c.value),
        select(func.json_group_array(location)).where(image_locations.c.image_id == each.c.value),
        members,
    )
    return select(each.c.key, *(parts.scalar_subquery() for parts in gathered))


_ALL_MEMBERS: Final = _statement(one_member=False)
_ONE_MEMBER: Final = _statement(one_member=True)
