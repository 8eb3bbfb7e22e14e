"""Pushing a file that is known to be its parent, block for block: an image of the parent's blocks, and nothing is sent.

Known from the last push of the file and its times, see `names_cache.py`: neither the file nor a manifest is read, and
what that would need is not even loaded, so that a line in cron costs next to nothing.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from blockstore.clock import monotonic
from httpapi.client.delta_api import DeltaApi
from httpapi.client.errors import ApiError, LoginNeeded, Mismatch, NotFound, is_no_route, may_pass
from httpapi.client.push import take_back
from httpapi.client.push_lock import LEFT, UNDER_WAY, held_directory
from httpapi.client.push_terms import PushResult
from httpapi.client.retrying import Retrying
from httpapi.wire.deltas import NewDelta
from httpapi.wire.images import CUTTING, PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from httpapi.client.api import ImagesApi
    from httpapi.client.block_file import Readable
    from httpapi.client.push_terms import Keeping
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord


async def push_unchanged(
    api: ImagesApi, file: Readable, want: Mapping[str, object], parent: ImageRecord, report: Report, keeping: Keeping
) -> PushResult | None:
    """The new image, or None when the file is not known to be the parent: nothing was made then.

    After any failure the image is deleted again; one that was left when this was killed is deleted first.
    SourceRefused while another push of the same kind runs.
    """
    with held_directory(keeping.directory, keeping.what, file.name) as directory:
        left = None if directory is None else directory / LEFT
        await _delete_left(api, left, report)
        if _is_other_work(keeping, want, parent, directory):
            return None
        known = await _known(api, file, parent, keeping)
        return None if known is None else await _push_known(api, file, want, parent, report, known, left)


async def _push_known(
    api: ImagesApi,
    file: Readable,
    want: Mapping[str, object],
    parent: ImageRecord,
    report: Report,
    known: bytes,
    left: Path | None,
) -> PushResult:
    began = monotonic()
    image_id = str(want["id"] if "id" in want else uuid.uuid4())
    deltas, retrying = DeltaApi(api), Retrying(api, report)
    if "id" not in want:
        # One that somebody else chose may be another image's all along: it is never deleted by a note.
        _remember(left, image_id)
    report.begin(file.size)
    try:
        await api.create_image({**want, PARENT: parent.id, "id": image_id})
    except ApiError as failure:
        if not may_pass(failure):
            _forget(left)
        raise
    try:
        delta = await deltas.begin(image_id, NewDelta(file.size, parent.id))
        image = await retrying(lambda: deltas.commit(delta, 0))
        _check(image, file.size, await retrying(lambda: deltas.manifest_digest(image_id)), known)
    except BaseException as failure:
        await take_back(api, image_id, failure, report)
        raise
    _forget(left)
    report.moved(file.size)
    report.compared(file.size, 0)
    return PushResult(image, file.size, monotonic() - began, verified=True, unchanged=file.size)


def _check(image: ImageRecord, size: int, found: bytes, known: bytes) -> None:
    if image.size != size or found != known:
        raise Mismatch(f"the server has image {image.id} with other blocks than its parent: push it again")


def _is_other_work(keeping: Keeping, want: Mapping[str, object], parent: ImageRecord, directory: Path | None) -> bool:
    """Whether a push is to be gone on with, or more is asked for than the same blocks again."""
    formats = (parent.disk_format, parent.container_format)
    return (
        keeping.touched is not None
        or CUTTING in want
        or formats != (want.get("disk_format"), want.get("container_format"))
        or (directory is not None and (directory / UNDER_WAY).exists())
    )


async def _known(api: ImagesApi, file: Readable, parent: ImageRecord, keeping: Keeping) -> bytes | None:
    """The digest of the manifest that the parent has, and an image of the file would have."""
    stamp = file.stamp()
    manifests = [] if keeping.cache is None or stamp is None else keeping.cache.manifests_of(stamp)
    if not manifests:
        return None
    try:
        digest = await DeltaApi(api).manifest_digest(parent.id)
    except ApiError as failure:
        if is_no_route(failure):
            return None
        raise
    return digest if digest.hex() in manifests else None


async def _delete_left(api: ImagesApi, left: Path | None, report: Report) -> None:
    """What was begun here and never finished has no bytes of anybody's."""
    image_id = _text_of(left)
    if image_id is None:
        return
    try:
        if (await api.get_image(image_id)).status in {"queued", "saving"}:
            await api.delete_image(image_id)
    except NotFound:
        pass
    except ApiError as failure:
        if isinstance(failure, LoginNeeded) or may_pass(failure):
            raise
        report.note(f"image {image_id}, which an interrupted push began, cannot be deleted ({failure}): it stays")
    _forget(left)


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
