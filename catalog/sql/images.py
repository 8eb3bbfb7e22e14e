"""Images in SQL: load, save with compare-and-set, remove."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from catalog.model.errors import Conflict
from catalog.model.image import Status
from catalog.model.pin import UploadKind
from catalog.model.query import ImagePage
from catalog.sql.image_rows import (
    image_of,
    image_row,
    location_rows,
    property_rows,
    tag_rows,
    upload_of,
)
from catalog.sql.listing import PageQuestion
from catalog.sql.tables import deleted_images, image_locations, image_members, image_properties, image_tags, images
from catalog.sql.times import to_us
from catalog.sql.whole_images import listed_images, whole_image

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Column, Connection, Table

    from catalog.model.image import Image, Upload
    from catalog.model.query import ImageQuery, Scope

# About what an image's own row amounts to, and what a listing writes of it beside properties and tags.
_TAKING: Final = (Status.SAVING.value, Status.UPLOADING.value)
_BASE_BYTES: Final = 1024
# Made once: to make one takes longer than to run it.
_SAVE: Final = update(images).where(images.c.id == bindparam("of_image"), images.c.status == bindparam("expect"))
_CLEAR: Final = [
    delete(table).where(table.c.image_id == bindparam("of_image"))
    for table in (image_properties, image_tags, image_locations)
]


class SqlImages:
    """The port `Images` on one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, image: Image) -> None:
        """Keep a new image; Conflict when its id is taken or ever was."""
        used = select(deleted_images.c.id).where(deleted_images.c.id == image.id)
        if self._connection.execute(used).first() is not None:
            raise _taken(image)
        try:
            self._connection.execute(insert(images), image_row(image))
        except IntegrityError:
            raise _taken(image) from None
        self._add_parts(image)

    def get(self, image_id: str) -> Image | None:
        """The image, or None."""
        return whole_image(self._connection, image_id)

    def bare(self, image_ids: Collection[str], *, project: str) -> Mapping[str, Image]:
        """Those that there are, by two statements."""
        rows = self._connection.execute(select(images).where(images.c.id.in_(sorted(image_ids)))).all()
        members = self._members([row.id for row in rows], project)
        return {row.id: image_of(row, {}, (), (), members[row.id]) for row in rows}

    def page(self, scope: Scope, query: ImageQuery, after: Image | None, *, places: bool = False) -> ImagePage:
        """One page, by three statements at most whatever its length: what is few, which images, all of each."""
        if query.limit == 0:
            return ImagePage(images=(), more=False)
        question = PageQuestion(scope, query, after)
        counts = () if question.counts is None else self._connection.execute(question.counts).one()
        ids: list[str] = json.loads(self._connection.execute(question.ids(counts)).scalar_one())
        found = self._first(ids[: query.limit], scope.project, query.page_bytes, places=places)
        return ImagePage(images=found, more=len(ids) > len(found))

    def save(self, image: Image, *, expect: Status, upload: str | None = None) -> None:
        """Write back by compare-and-set on the status, and on the upload when it is named; Conflict when it lost."""
        expected = {"of_image": image.id, "expect": expect.value}
        change = _SAVE if upload is None else _SAVE.where(images.c.upload_id == upload)
        if self._connection.execute(change, expected | image_row(image)).rowcount == 0:
            raise _lost(image)
        for clear in _CLEAR:
            self._connection.execute(clear, {"of_image": image.id})
        self._add_parts(image)

    def change(self, before: Image, after: Image) -> None:
        """Write the differences alone: of 128 properties those that changed, of the row its changed columns."""
        old, new = image_row(before), image_row(after)
        same = [images.c[name].is_not_distinct_from(old[name]) for name in ("id", "status", "updated_at", "upload_id")]
        differing = {name: value for name, value in new.items() if name == "updated_at" or value != old[name]}
        if self._connection.execute(update(images).where(*same).values(differing)).rowcount == 0:
            raise _lost(after)
        changed = {name for name, value in before.properties.items() if after.properties.get(name) != value}
        self._exchange(image_properties.c.name, after.id, changed, property_rows(after), before.properties.keys())
        self._exchange(image_tags.c.tag, after.id, before.tags - after.tags, tag_rows(after), before.tags)

    def remove(self, image: Image) -> None:
        """Delete the rows, and remember that the id was used, and by whom."""
        self._connection.execute(delete(images).where(images.c.id == image.id))
        used = {"id": image.id, "deleted_at": to_us(image.updated_at), "owner": image.owner}
        self._connection.execute(insert(deleted_images), used)

    def streams(self) -> Sequence[tuple[str, Upload]]:
        """Image id and upload of each stream recorded as being written or staged."""
        columns = (images.c.id, images.c.upload_id, images.c.upload_kind, images.c.upload_process)
        streams = select(*columns).where(images.c.status.in_(_TAKING), images.c.upload_kind == UploadKind.STREAM.value)
        return [(row.id, upload_of(row)) for row in self._connection.execute(streams)]

    def _add_parts(self, image: Image) -> None:
        parts: tuple[tuple[Table, Iterable[dict[str, object]]], ...] = (
            (image_properties, property_rows(image)),
            (image_tags, tag_rows(image)),
            (image_locations, location_rows(image)),
        )
        for table, rows in parts:
            if values := list(rows):
                self._connection.execute(insert(table), values)

    def _exchange(
        self,
        key: Column[str],
        image_id: str,
        gone: Collection[str],
        rows: Iterable[dict[str, object]],
        before: Collection[str],
    ) -> None:
        """Of an image's rows delete those whose key is `gone`, and insert those of `rows` that then are not there."""
        table = key.table
        if gone:
            self._connection.execute(delete(table).where(table.c.image_id == image_id, key.in_(sorted(gone))))
        if come := [row for row in rows if row[key.name] in gone or row[key.name] not in before]:
            self._connection.execute(insert(table), come)

    def _first(self, ids: Sequence[str], project: str, most: int, *, places: bool) -> tuple[Image, ...]:
        """The first of these images, with `project` as a member: `most` bytes of text, but one image at least."""
        if not ids:
            return ()
        found: list[Image] = []
        taken = 0
        with listed_images(self._connection, ids, project=project, places=places) as read:
            for image, text_bytes in read:
                taken += _BASE_BYTES + text_bytes
                if found and taken > most:
                    break
                found.append(image)
        return tuple(found)

    def _members(self, ids: Sequence[str], project: str | None) -> Mapping[str, Collection[str]]:
        """The members of these images: all, or only the project, of which each image has one at most."""
        found = select(image_members.c.image_id, image_members.c.member).where(image_members.c.image_id.in_(ids))
        if project is not None:
            found = found.where(image_members.c.member == project)
        members: defaultdict[str, list[str]] = defaultdict(list)
        for row in self._connection.execute(found):
            members[row.image_id].append(row.member)
        return members


def _taken(image: Image) -> Conflict:
    # In one sentence: whether an image that the caller may not see is still there, is not for it to know.
    return Conflict(f"Image ID {image.id} is taken, and ids are never used again; choose another, or none.")


def _lost(image: Image) -> Conflict:
    return Conflict(f"Image {image.id} was changed by another request; look at it and try again.")
