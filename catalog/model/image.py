"""The image: what is told of it, and the states it goes through.

An object here holds state and refuses bad transitions; the use cases decide the order, policy and limits stand
beside them. Each transition out of `saving` names the upload that makes it, so that a late upload that was given up
never touches its successor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from catalog.model.errors import Conflict, Forbidden, Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from catalog.model.location import Location
    from catalog.model.pin import UploadKind


class Status(StrEnum):
    """Where an image stands in its life."""

    QUEUED = "queued"
    SAVING = "saving"
    ACTIVE = "active"
    KILLED = "killed"
    DELETED = "deleted"
    UPLOADING = "uploading"
    IMPORTING = "importing"
    PENDING_DELETE = "pending_delete"
    DEACTIVATED = "deactivated"


class Visibility(StrEnum):
    """Whom an image is shown to, beside its owner."""

    COMMUNITY = "community"
    PUBLIC = "public"
    PRIVATE = "private"
    SHARED = "shared"


TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.SAVING, Status.UPLOADING, Status.IMPORTING, Status.ACTIVE, Status.DELETED}),
    Status.SAVING: frozenset({Status.ACTIVE, Status.KILLED, Status.DELETED, Status.QUEUED}),
    Status.UPLOADING: frozenset({Status.IMPORTING, Status.QUEUED, Status.DELETED}),
    Status.IMPORTING: frozenset({Status.ACTIVE, Status.DELETED, Status.QUEUED}),
    Status.ACTIVE: frozenset({Status.PENDING_DELETE, Status.DELETED, Status.DEACTIVATED}),
    Status.DEACTIVATED: frozenset({Status.ACTIVE, Status.DELETED}),
    Status.PENDING_DELETE: frozenset({Status.DELETED, Status.ACTIVE}),
    Status.KILLED: frozenset({Status.DELETED}),
    Status.DELETED: frozenset(),
}
"""From each status, the ones that may follow."""

CHECKSUM: Final = "md5"
"""The algorithm of `checksum`, in the Images API always this one."""

NOVAS_PARENT: Final = "base_image_ref"
"""The property in which Nova names the image that a server was made from, when it makes an image of that server."""

_ID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_image_id(text: str) -> bool:
    """Whether text has the form of an image's id, a UUID."""
    return _ID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """An id as it is kept, in lower case: ids that differ in case alone are the same UUID, and so the same image."""
    return text.lower()


@dataclass(frozen=True, slots=True)
class Upload:
    """Who writes an image's bytes: the upload's id, its kind, and the name of its process's lock."""

    id: str
    kind: UploadKind
    process: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What an upload brought: bytes, MD5, and the hash that clients verify, all of the flat image.

    The two hashes are None while they are still to be computed. `virtual_size` are the bytes of the disk in the image,
    None where they are not known. `changed_size` are the bytes of data that differ from
    the parent's, all that are no holes where nothing was inherited.
    """

    size: int
    checksum: str | None
    os_hash_algo: str
    os_hash_value: str | None
    locations: tuple[Location, ...]
    changed_size: int | None = None
    virtual_size: int | None = None


@dataclass(slots=True, kw_only=True)
class Image:
    """One image; sizes in bytes, `min_disk` in GB, `min_ram` in MB, times in UTC.

    `upload` stays after its commit, so that the same commit can be asked for again. `parent_image_ref` is said when the
    image is made and never changes; it is an id that may be anybody's, or nobody's any more. `members` are the projects
    that it is shared with; they count while it is `shared`, and the port `Members` changes them.
    """

    id: str
    owner: str | None
    created_at: datetime
    updated_at: datetime
    name: str | None = None
    status: Status = Status.QUEUED
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    os_hidden: bool = False
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    parent_image_ref: str | None = None
    size: int | None = None
    changed_size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    locations: tuple[Location, ...] = ()
    upload: Upload | None = None

    def copy(self) -> Image:
        """The image as it is now, which what happens to this one does not change."""
        return replace(self, properties=dict(self.properties))

    def is_taking(self, upload_id: str) -> bool:
        """Whether this upload is the one that is writing now, or has staged what waits for its import."""
        return self.status in {Status.SAVING, Status.UPLOADING} and self._is_of(upload_id)

    def was_saved(self, upload_id: str) -> bool:
        """Whether this upload is the one whose bytes the image has."""
        return self.has_bytes and self._is_of(upload_id)

    def begin_saving(self, upload: Upload, *, at: datetime) -> None:
        """An upload begins: queued → saving. Raises Conflict in another state, Invalid while the formats are unset."""
        if self.status is not Status.QUEUED:
            raise Conflict(
                f"Image {self.id} is {self.status.value}; data can be uploaded only while an image is queued."
            )
        if self.disk_format is None or self.container_format is None:
            raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
        self._move(Status.SAVING, at)
        self.upload = upload

    def begin_staging(self, upload: Upload, *, at: datetime) -> None:
        """An upload begins that an import is to finish: queued → uploading. Raises Conflict in another state."""
        if self.status is not Status.QUEUED:
            raise Conflict(f"Image {self.id} is {self.status.value}; data can be staged only while an image is queued.")
        self._move(Status.UPLOADING, at)
        self.upload = upload

    def be_staged(self, upload: Upload, size: int, *, at: datetime) -> None:
        """All of it has come, and waits. Raises Conflict when another upload is at work."""
        self._require_taking(upload.id)
        self.upload = upload
        self.size = size
        self.be_changed(at=at)

    def begin_importing(self, *, at: datetime) -> None:
        """An import gives the image its bytes from now: queued or uploading → importing."""
        self._move(Status.IMPORTING, at)

    def be_imported(self, contents: Contents, *, at: datetime) -> None:
        """What was imported becomes the image's: importing → active."""
        self._move(Status.ACTIVE, at)
        self._take(contents)

    def lose_import(self, *, at: datetime) -> None:
        """The import is given up, and all that it brought: importing → queued."""
        self._move(Status.QUEUED, at)
        self.size = self.changed_size = self.virtual_size = self.upload = None
        self.locations = ()

    def become_active(self, upload_id: str, contents: Contents, *, at: datetime) -> None:
        """The upload's bytes become the image's: saving → active. Raises Conflict when another upload is at work."""
        self._require_taking(upload_id)
        self._move(Status.ACTIVE, at)
        self._take(contents)

    def be_registered(self, hashes: Mapping[str, str], *, at: datetime) -> None:
        """What lies at its locations are its bytes: queued or importing → active. Invalid while formats are unset."""
        if self.disk_format is None or self.container_format is None:
            raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
        self._move(Status.ACTIVE, at)
        for name, value in hashes.items():
            setattr(self, name, value)

    def be_hashed(self, *, checksum: str, algorithm: str, value: str, at: datetime) -> None:
        """The hashes of the bytes become known after the upload."""
        self.checksum, self.os_hash_algo, self.os_hash_value = checksum, algorithm, value
        self.be_changed(at=at)

    def exchange(self, manifest: str, location: Location) -> bool:
        """Put `location`, which has the same bytes, where `manifest` is named; False if it is named nowhere."""
        named = [each for each in self.locations if each.manifest == manifest]
        return bool(named) and self.replace_location(named[0], location)

    def change_location(self, url: str, before: str, after: str) -> bool:
        """The status of a location goes from one to another; False if the image has none such in that status."""
        found = [each for each in self.locations if each.url == url and each.status == before]
        return bool(found) and self.replace_location(found[0], replace(found[0], status=after))

    def replace_location(self, before: Location, after: Location) -> bool:
        """A location, as it is, gives way to another one with the same bytes: nothing that clients see; else False."""
        found = before in self.locations
        self.locations = tuple(after if each == before else each for each in self.locations)
        return found

    @property
    def parent(self) -> str | None:
        """The id of the image that this one came from: the parent that was named, else the image of Nova's server."""
        if self.parent_image_ref is not None:
            return self.parent_image_ref
        named = self.properties.get(NOVAS_PARENT, "")
        return canonical_id(named) if is_image_id(named) else None

    def is_shared_with(self, project: str | None) -> bool:
        """Whether the project sees the image because it is a member, whatever it said to that."""
        return self.visibility is Visibility.SHARED and project in self.members

    @property
    def has_bytes(self) -> bool:
        """Whether there are bytes to be read."""
        return self.status in {Status.ACTIVE, Status.DEACTIVATED}

    def back_to_queued(self, upload_id: str, *, at: datetime) -> None:
        """The upload is given up: saving or uploading → queued, as if it had never begun."""
        self._require_taking(upload_id)
        self._move(Status.QUEUED, at)
        self.size = self.changed_size = self.virtual_size = self.upload = None

    def deactivate(self, *, at: datetime) -> None:
        """Keep the bytes from all but admins: active → deactivated. Raises Forbidden while there are none."""
        if not self.has_bytes:
            raise Forbidden(f"Not allowed to deactivate image in status '{self.status.value}'")
        if self.status is Status.ACTIVE:
            self._move(Status.DEACTIVATED, at)

    def reactivate(self, *, at: datetime) -> None:
        """Undo that: deactivated → active. Raises Forbidden while there are no bytes."""
        if not self.has_bytes:
            raise Forbidden(f"Not allowed to reactivate image in status '{self.status.value}'")
        if self.status is Status.DEACTIVATED:
            self._move(Status.ACTIVE, at)

    def be_deleted(self, *, at: datetime) -> None:
        """The image goes away, from any state. Raises Forbidden when it is protected."""
        if self.protected:
            raise Forbidden(f"Image {self.id} is protected and cannot be deleted; set protected to false first.")
        self._move(Status.DELETED, at)

    def be_changed(self, *, at: datetime) -> None:
        """Something that is told of it is different: never before it was made, whatever the clock says."""
        self.updated_at = max(at, self.created_at)

    def be_undeleted(self, *, shown: bool, at: datetime) -> None:
        """The image, as it was kept, is there again; unless it is to be `shown` as it was, to its owner alone."""
        if not shown:
            self.visibility = Visibility.PRIVATE
        self.be_changed(at=at)

    def _is_of(self, upload_id: str) -> bool:
        return self.upload is not None and self.upload.id == upload_id

    def _take(self, contents: Contents) -> None:
        self.size, self.changed_size, self.virtual_size = contents.size, contents.changed_size, contents.virtual_size
        self.checksum = contents.checksum
        self.os_hash_algo = contents.os_hash_algo
        self.os_hash_value = contents.os_hash_value
        self.locations = (*self.locations, *contents.locations)

    def _require_taking(self, upload_id: str) -> None:
        if not self.is_taking(upload_id):
            raise Conflict(f"Image {self.id} is {self.status.value} and no longer takes this upload; upload it again.")

    def _move(self, status: Status, at: datetime) -> None:
        if status not in TRANSITIONS[self.status]:
            raise Conflict(f"Image {self.id} is {self.status.value} and cannot become {status.value}.")
        self.status = status
        self.be_changed(at=at)
