"""Pushing what changed: a file is compared with its parent's blocks, and only those that differ are sent.

    parent's manifest → image, written down → its upload (`delta_upload.py`) → is it what was read?

Interrupted anywhere, the same call goes on: see `push_state.py`. `None` says that it cannot be done so, and that the
whole image has to be sent; nothing was made then.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from blockstore.clock import monotonic
from httpapi.client.block_names import ImageNames, fetch_names, flat_digest
from httpapi.client.delta_api import DeltaApi
from httpapi.client.delta_upload import DeltaUpload
from httpapi.client.errors import ApiError, Conflict, Mismatch, NotFound, may_pass
from httpapi.client.left_behind import kept_or_taken_back
from httpapi.client.push_state import Begun, open_state
from httpapi.client.push_terms import PushResult, is_as_wanted, unfit
from httpapi.client.retrying import Retrying
from httpapi.wire.images import PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.client.api import ImagesApi
    from httpapi.client.block_file import Readable
    from httpapi.client.push_state import PushState
    from httpapi.client.push_terms import Keeping
    from httpapi.client.report import Report
    from httpapi.wire.images import ImageRecord


async def push_changes(
    api: ImagesApi, file: Readable, want: Mapping[str, object], parent: ImageRecord, report: Report, keeping: Keeping
) -> PushResult | None:
    """Creates an image with the attributes `want` and the bytes of `file`, of which only what differs is sent.

    Raises SourceRefused, Mismatch and whatever `api` raises. After an interruption the image stays `saving`, to be
    gone on with; after a failure that would repeat itself it is deleted again.
    """
    await api.discover()
    with open_state(keeping.directory, keeping.what, file.name) as state:
        return await _DeltaPush(api, file, want, report, keeping, state).run(parent)


class _DeltaPush:
    def __init__(
        self,
        api: ImagesApi,
        file: Readable,
        want: Mapping[str, object],
        report: Report,
        keeping: Keeping,
        state: PushState,
    ) -> None:
        self._api = api
        self._deltas = DeltaApi(api)
        self._retrying = Retrying(api, report)
        self._file = file
        self._want = want
        self._report = report
        self._keeping = keeping
        self._state = state
        self._manifest = b""

    async def run(self, parent: ImageRecord) -> PushResult | None:
        began = monotonic()
        upload = DeltaUpload(self._deltas, self._file, self._keeping, self._state, self._retrying, self._report)
        ready = await self._go_on(parent)
        if created := ready is None:
            ready = await self._begin(parent)
        if ready is None:
            return None
        begun, base = ready
        try:
            async with kept_or_taken_back(self._api, self._state, begun.image, self._report):
                image = await upload.become(begun, base, created=created)
                verified = await self._verify(image, base)
        finally:
            base.close()
        self._keep_names(begun.block_size, image.id)
        self._state.forget()
        seconds = monotonic() - began
        return PushResult(image, self._file.size, seconds, verified, unchanged=upload.unchanged, sent=upload.sent)

    async def _go_on(self, parent: ImageRecord) -> tuple[Begun, ImageNames] | None:
        """What an interrupted push has begun, if it can still become this file's image."""
        begun = self._state.load()
        if begun is None:
            return None
        try:
            image = await self._retrying(lambda: self._api.get_image(begun.image))
            base = ImageNames(self._state.base, bytes.fromhex(begun.manifest))
        except (NotFound, Mismatch, ValueError):
            self._state.forget()
            return None
        if begun.upload is None and "id" in self._want and not is_as_wanted(image, self._want, begun.base):
            # Whether this image was made then was never answered, and this one was not: it is not touched.
            base.close()
            self._state.forget()
            return None
        committed = image.status == "active" and begun.was_read(self._file.stamp())
        fits = begun.is_for(self._file.size, parent.id, touched=self._keeping.touched is not None)
        if fits and (image.status in {"queued", "saving"} or committed):
            self._report.tell(f"going on with image {begun.image}, which an interrupted push began")
            return begun, base
        base.close()
        self._state.forget()
        if image.status in {"queued", "saving"}:
            # It was to become something else.
            with suppress(NotFound):
                await self._api.delete_image(begun.image)
        return None

    async def _begin(self, parent: ImageRecord) -> tuple[Begun, ImageNames] | None:
        base = await self._retrying(lambda: fetch_names(self._deltas, parent.id, self._state.base))
        if base is None:
            self._report.note("the server has no delta sync, or not for the parent: the whole image is sent")
            return None
        why = unfit(base, parent, self._want)
        if why is not None:
            base.close()
            self._report.note(f"{why}: the whole image is sent")
            return None
        image_id = str(self._want["id"] if "id" in self._want else uuid.uuid4())
        size, touched = self._file.size, self._keeping.touched is not None
        if "id" in self._want:
            await self._refuse_taken(image_id)
        begun = Begun(image_id, None, parent.id, base.digest.hex(), size, base.header.block_size, touched)
        self._state.sent.clear()
        self._state.save(begun)
        try:
            await self._api.create_image({**self._want, PARENT: parent.id, "id": image_id})
        except ApiError as failure:
            if not may_pass(failure):
                self._state.forget()
            raise
        return begun, base

    async def _refuse_taken(self, image_id: str) -> None:
        """Before anything is written down that another image of this id could be taken for."""
        with suppress(NotFound):
            await self._retrying(lambda: self._api.get_image(image_id))
            raise Conflict(HTTPStatus.CONFLICT, f"image {image_id} is there already: choose another id, or none", None)

    async def _verify(self, image: ImageRecord, base: ImageNames) -> bool:
        """Whether the server has the blocks that were read, told by one digest over the names of all of them."""
        if image.status != "active" or image.size != self._file.size:
            raise Mismatch(
                f"{self._file.size} bytes were pushed, but the server has image {image.id} as {image.status} "
                f"with {image.size} bytes: push it again",
            )
        self._manifest = flat_digest(base.header, self._state.names, self._file.size)
        if self._manifest != await self._retrying(lambda: self._deltas.manifest_digest(image.id)):
            raise Mismatch(f"the server has image {image.id} with other blocks than were read: push it again")
        return True

    def _keep_names(self, block_size: int, image_id: str) -> None:
        """For the file as it was when they were read, by this call or by an earlier one."""
        stamp, scanned = self._file.stamp(), self._state.load()
        if self._keeping.cache is None or stamp is None or scanned is None or self._keeping.touched is not None:
            return
        if scanned.was_read(stamp):
            names, manifest = self._state.names.path, self._manifest.hex()
            self._keeping.cache.keep(stamp, block_size, names, manifest, image_id, began_us=scanned.began_us)
