"""Pushing a file that is known to be its parent, block for block: an image of the parent's blocks, and nothing is sent.

Known from the last push of the file and its times, see `names_cache.py`: neither the file nor a manifest is read, and
what that would need is not even loaded, so that a line in cron costs next to nothing. Whatever is not as usual is left
to the push of changes, which tells what is wrong, waits, or asks for a password.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from blockstore.clock import monotonic
from httpapi.client.answers import following
from httpapi.client.errors import ApiError, ClientError, LoginNeeded, Mismatch, NotAnImageService, NotFound, may_pass
from httpapi.client.open_files import writer_of
from httpapi.client.parents import is_own, name_query, newest_of, told_of
from httpapi.client.push_lock import LEFT, UNDER_WAY, held_directory
from httpapi.client.push_terms import PushResult
from httpapi.client.quick_api import QuickApi
from httpapi.client.record import is_image_id, read_record
from httpapi.client.source import PositionedSource
from httpapi.wire.images import CUTTING, PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from httpapi.client.auth import Access
    from httpapi.client.block_file import Stamp
    from httpapi.client.names_cache import NamesCache
    from httpapi.client.push_terms import PushWish
    from httpapi.client.report import Report
    from httpapi.client.source import Source
    from httpapi.wire.images import ImageRecord

_PAGE: Final = 100


def push_unchanged(
    access: Access, source: Source, want: Mapping[str, object], wish: PushWish, report: Report
) -> PushResult | None:
    """The new image, or None when the file is not known to be its parent, or anything was not as usual.

    Then nothing was made, or it was deleted again; what could not be is deleted by the next push of the same kind, as
    is what was left when this was killed. SourceRefused while another push of the same kind runs.
    """
    file = source.file if isinstance(source, PositionedSource) else None
    if file is None or not file.files or _is_more(want, wish):
        return None
    keeping = wish.keeping(access.endpoint, file, want)
    with held_directory(keeping.directory, keeping.what, file.name) as directory:
        stamp, left = file.stamp(), None if directory is None else directory / LEFT
        goes_on = directory is not None and (directory / UNDER_WAY).exists()
        known = {} if stamp is None or goes_on else wish.cache.manifests_of(stamp)
        if not known and _text_of(left) is None:
            return None
        with suppress(ClientError), QuickApi(access) as api:
            _delete_left(api, left, report)
            if stamp is not None and known and (wish.live or not any(map(writer_of, file.files))):
                return _Unchanged(api, stamp, wish.cache, known, left).push(want, wish, report)
    return None


def _is_more(want: Mapping[str, object], wish: PushWish) -> bool:
    """Whether more is asked for than the same blocks again, or an id that may be another image's all along."""
    return wish.touched is not None or bool(wish.bases) or CUTTING in want or "id" in want


class _Unchanged:
    """One push; `known` are the manifests that an image of the file has, each with an image that has it."""

    def __init__(
        self, api: QuickApi, stamp: Stamp, cache: NamesCache, known: Mapping[str, str], left: Path | None
    ) -> None:
        self._api = api
        self._stamp = stamp
        self._cache = cache
        self._known = known
        self._left = left

    def push(self, want: Mapping[str, object], wish: PushWish, report: Report) -> PushResult | None:
        began, size = monotonic(), self._stamp.size
        parent = self._parent(want, wish)
        manifest = None if parent is None else self._manifest_of(parent)
        if parent is None or manifest is None:
            return None
        image = self._make(want, parent, manifest)
        self._cache.has_made(self._stamp, manifest, image.id)
        if wish.parent is None:
            report.tell(told_of(parent))
        report.begin(size)
        report.moved(size)
        report.compared(size, 0)
        return PushResult(image, size, monotonic() - began, verified=True, unchanged=size)

    def _parent(self, want: Mapping[str, object], wish: PushWish) -> ImageRecord | None:
        """The one that `find_parent` finds, if an image of its blocks can be what is wanted."""
        if wish.parent is None:
            found = self._newest(want, wish.project)
        elif is_image_id(wish.parent):
            found = read_record(self._api.ask("GET", _path(wish.parent)))
        else:
            return None
        if found is None or found.status != "active":
            return None
        formats = (want.get("disk_format"), want.get("container_format"))
        return found if (found.disk_format, found.container_format) == formats else None

    def _newest(self, want: Mapping[str, object], project: str | None) -> ImageRecord | None:
        terms = name_query(want)
        query = urlencode([*terms, ("limit", str(_PAGE))]) if terms else ""
        found: list[ImageRecord] = []
        while query:
            page = self._api.ask("GET", f"/images?{query}")
            records = page.get("images")
            if not isinstance(records, list):
                raise NotAnImageService("the answer is no list of images: check --endpoint")
            found += [image for image in map(read_record, records) if is_own(image, want, project)]
            # The newest comes first. Whose the others are matters to whoever does not know his project.
            query = "" if found and project is not None else following(page.get("next"), query)
        return newest_of(found)

    def _manifest_of(self, parent: ImageRecord) -> str | None:
        """The parent's manifest if an image of the file would have it, too."""
        for manifest, image_id in self._known.items():
            if image_id == parent.id:
                return manifest
        found = self._asked(parent.id)
        return found if found in self._known else None

    def _asked(self, image_id: str) -> str:
        return str(self._api.ask("GET", f"{_path(image_id)}/manifest").get("manifest"))

    def _make(self, want: Mapping[str, object], parent: ImageRecord, manifest: str) -> ImageRecord:
        image_id = str(uuid.uuid4())
        _remember(self._left, image_id)
        try:
            self._api.ask("POST", "/images", {**want, PARENT: parent.id, "id": image_id})
        except ApiError as failure:
            if not may_pass(failure):
                _forget(self._left)
            raise
        try:
            image = self._fill(image_id, parent, manifest)
        except BaseException:
            with suppress(ClientError):
                self._api.ask("DELETE", _path(image_id))
                _forget(self._left)
            raise
        _forget(self._left)
        return image

    def _fill(self, image_id: str, parent: ImageRecord, manifest: str) -> ImageRecord:
        """With the parent's blocks, and no others; the manifest tells whether they are the file's."""
        uploads = f"{_path(image_id)}/deltas"
        delta = self._api.ask("POST", uploads, {"size": self._stamp.size, "base": parent.id})
        upload = quote(str(delta.get("id")), safe="")
        image = read_record(self._api.ask("POST", f"{uploads}/{upload}/commit", {"blocks": 0}))
        if image.id != image_id or image.size != self._stamp.size or self._asked(image_id) != manifest:
            raise Mismatch(f"the server has image {image_id} with other blocks than its parent")
        return image


def _delete_left(api: QuickApi, left: Path | None, report: Report) -> None:
    """What was begun here and never finished has no bytes of anybody's."""
    image_id = _text_of(left)
    if image_id is None:
        return
    try:
        if read_record(api.ask("GET", _path(image_id))).status in {"queued", "saving"}:
            api.ask("DELETE", _path(image_id))
    except NotFound:
        pass
    except ApiError as failure:
        if isinstance(failure, LoginNeeded) or may_pass(failure):
            raise
        report.note(f"image {image_id}, which an interrupted push began, cannot be deleted ({failure}): it stays")
    _forget(left)


def _path(image_id: str) -> str:
    return f"/images/{quote(image_id, safe='')}"


def _text_of(path: Path | None) -> str | None:
    try:
        return None if path is None else path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _remember(left: Path | None, image_id: str) -> None:
    with suppress(OSError):
        if left is not None:
            left.write_text(image_id, encoding="ascii")


def _forget(left: Path | None) -> None:
    with suppress(OSError):
        if left is not None:
            left.unlink()
