"""Pushing a file that is known to be its parent, block for block: an image of the parent's blocks, and nothing is sent.

Known from the last push of the file and its times, see `names_cache.py`: neither the file nor a manifest is read, and
what that would need is not even loaded, so that a line in cron costs next to nothing.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from blockstore.clock import monotonic
from httpapi.client.delta_api import DeltaApi, is_no_route
from httpapi.client.errors import ApiError, Mismatch, NotFound
from httpapi.client.push import PushResult, take_back
from httpapi.client.push_terms import key_of
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
    """
    began = monotonic()
    left = keeping.directory / f"{key_of(keeping.what)}.image"
    await _delete_left(api, left)
    known = None if _is_other_work(keeping, want, parent) else await _known(api, file, parent, keeping)
    if known is None:
        return None
    image_id = str(want["id"] if "id" in want else uuid.uuid4())
    deltas, retrying = DeltaApi(api), Retrying(api, report)
    _remember(left, image_id)
    report.begin(file.size)
    await api.create_image({**want, PARENT: parent.id, "id": image_id})
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


def _is_other_work(keeping: Keeping, want: Mapping[str, object], parent: ImageRecord) -> bool:
    """Whether a push is to be gone on with, or more is asked for than the same blocks again."""
    formats = (parent.disk_format, parent.container_format)
    return (
        keeping.touched is not None
        or CUTTING in want
        or formats != (want.get("disk_format"), want.get("container_format"))
        or (keeping.directory / key_of(keeping.what)).exists()
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


async def _delete_left(api: ImagesApi, left: Path) -> None:
    """What was begun here and never finished has no bytes of anybody's."""
    image_id = _text_of(left)
    if image_id is None:
        return
    with suppress(NotFound):
        if (await api.get_image(image_id)).status in {"queued", "saving"}:
            await api.delete_image(image_id)
    _forget(left)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _remember(left: Path, image_id: str) -> None:
    with suppress(OSError):
        left.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        left.write_text(image_id, encoding="ascii")


def _forget(left: Path) -> None:
    with suppress(OSError):
        left.unlink()
