"""How much and how large: every bound on what callers may say and bring, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from catalog.model.errors import Invalid, LimitExceeded
from catalog.model.new_image import NewImage

if TYPE_CHECKING:
    from collections.abc import Collection

    from catalog.model.delta import UnderWay
    from catalog.model.image import Image

LARGEST_MINIMUM: Final = 2**31 - 1
"""The largest `min_disk` and `min_ram` that the API's integers hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds; lengths in characters, what ends in `_bytes` and `image_size_cap` in bytes, other pages in images.

    `text_bytes` bounds the name, tags and properties of one image together, as UTF-8: what a listing has to carry.
    `page_bytes` ends a listing's page early, by the same measure. `uploads` and `journal_bytes` are a project's:
    uploads under way, and what the journals of its delta uploads may take. `reserve_step`: bytes of a quota that an
    upload of unknown size takes at a time.
    """

    properties: int = 128
    tags: int = 128
    members: int = 128
    tag_length: int = 255
    key_length: int = 255
    value_length: int = 65535
    name_length: int = 255
    text_bytes: int = 128 << 10
    image_size_cap: int = 1 << 40
    uploads: int = 1000
    journal_bytes: int = 4 << 30
    reserve_step: int = 64 << 20
    page_default: int = 25
    page_max: int = 1000
    page_bytes: int = 4 << 20
    query_parameters: int = 128
    changes: int = 1000
    disk_formats: frozenset[str] = frozenset(
        {"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
    )
    container_formats: frozenset[str] = frozenset({"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"})

    def check_new_image(self, new: NewImage) -> None:
        """Refuse attributes of a new image that are out of bounds: Invalid by value, LimitExceeded by number."""
        self._check(_NOTHING, new)

    def check_changed_image(self, before: Image, after: Image) -> None:
        """The same of an image that changes; what was there already may stay, also above a bound that came later."""
        self._check(before, after)

    def check_changes(self, number: int) -> None:
        """Refuse more changes in one request than an image has attributes, by far: LimitExceeded."""
        if number > self.changes:
            raise LimitExceeded(f"The request has {number} changes; {self.changes} are the most.")

    def _check(self, old: NewImage | Image, new: NewImage | Image) -> None:
        check_text("name", new.name, self.name_length)
        check_text("owner", new.owner, self.name_length)
        _check_choice("disk_format", new.disk_format, self.disk_formats)
        _check_choice("container_format", new.container_format, self.container_formats)
        _check_minimum("min_disk", new.min_disk)
        _check_minimum("min_ram", new.min_ram)
        for tag in new.tags - old.tags:
            check_text("tag", tag, self.tag_length)
            check_addressable("tag", tag)
        for key, value in new.properties.items() - old.properties.items():
            check_text("property name", key, self.key_length)
            check_text(f"property {key[:40]!r}", value, self.value_length)
        _check_count("tags", len(new.tags), self.tags, before=len(old.tags))
        _check_count("properties", len(new.properties), self.properties, before=len(old.properties))
        self._check_text_bytes(_text_bytes(new), before=_text_bytes(old))

    def check_members(self, number: int) -> None:
        """Refuse so many members of an image: LimitExceeded."""
        _check_count("members", number, self.members)

    def check_size(self, size: int) -> None:
        """Refuse bytes beyond the cap: LimitExceeded."""
        if size > self.image_size_cap:
            raise LimitExceeded(
                f"The image is larger than the {self.image_size_cap} bytes that this service takes for one image."
            )

    def check_uploads(self, under_way: UnderWay) -> None:
        """Refuse one more upload to a project that has so many under way: LimitExceeded."""
        if under_way.uploads >= self.uploads:
            raise LimitExceeded(
                f"Your project has {under_way.uploads} uploads under way; {self.uploads} are the most. Finish some, or "
                "give delta uploads up that nobody goes on with."
            )
        self.check_journals(under_way)

    def check_journals(self, under_way: UnderWay) -> None:
        """Refuse blocks to a project whose delta uploads are recorded in so many bytes: LimitExceeded."""
        if under_way.journal_bytes >= self.journal_bytes:
            raise LimitExceeded(
                f"The records of your project's delta uploads take {under_way.journal_bytes} bytes; "
                f"{self.journal_bytes} are the most. Commit some, or give those up that nobody goes on with."
            )

    def check_parameters(self, number: int) -> None:
        """Refuse a listing with more parameters than a database can be asked at once: Invalid."""
        if number > self.query_parameters:
            raise Invalid(f"The query has {number} parameters; {self.query_parameters} are the most.")

    def _check_text_bytes(self, total: int, *, before: int) -> None:
        if total > max(self.text_bytes, before):
            raise LimitExceeded(
                f"The image's name, tags and properties have {total} bytes together; {self.text_bytes} are the most. "
                "Keep long texts elsewhere."
            )


_NOTHING: Final = NewImage()


def _text_bytes(image: NewImage | Image) -> int:
    texts = (image.name or "", *image.tags, *image.properties, *image.properties.values())
    return sum(len(text.encode()) for text in texts)


def check_text(what: str, text: str | None, longest: int) -> None:
    """Refuse text that is too long or that no database can keep: Invalid."""
    if text is None:
        return
    if len(text) > longest:
        raise Invalid(f"The {what} has {len(text)} characters; {longest} are the most.")
    if not can_be_stored(text):
        raise Invalid(f"The {what} holds a NUL or half of a surrogate pair; remove it.")


def check_addressable(what: str, text: str) -> None:
    """Refuse what no path can end with, since clients take it for a directory, however it is escaped: Invalid."""
    if text in {".", ".."}:
        raise Invalid(f"The {what} {text!r} could not be named in a path; choose another.")


def can_be_stored(text: str) -> bool:
    """Whether text can travel to a database and back: no NUL, no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _check_choice(what: str, value: str | None, choices: Collection[str]) -> None:
    if value is not None and value not in choices:
        raise Invalid(f"Invalid {what} {value[:40]!r}; it is one of {', '.join(sorted(choices))}.")


def _check_minimum(what: str, value: int) -> None:
    if not 0 <= value <= LARGEST_MINIMUM:
        raise Invalid(f"Invalid {what} {value}; it lies between 0 and {LARGEST_MINIMUM}.")


def _check_count(what: str, number: int, most: int, *, before: int = 0) -> None:
    if number > max(most, before):
        raise LimitExceeded(f"The image would have {number} {what}; {most} are the most.")
