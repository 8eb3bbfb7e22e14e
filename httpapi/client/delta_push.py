"""Pushing what changed: a file is compared with its parent's blocks, and only those that differ are sent.

    parent's manifest → image and upload, written down → scan, compare, send → commit → is it what was read?

Interrupted anywhere, the same call goes on: see `push_state.py`. `None` says that it cannot be done so, and that the
whole image has to be sent; nothing was made then.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic, now_us
from httpapi.client.block_names import ImageNames, fetch_names, flat_digest
from httpapi.client.block_scan import BlockScan, Geometry
from httpapi.client.block_sender import BlockSender
from httpapi.client.comparison import ChangedSince, Comparison
from httpapi.client.delta_api import DeltaApi
from httpapi.client.errors import ApiError, Conflict, Mismatch, NotFound, SourceRefused, may_pass
from httpapi.client.left_behind import Overtaken, kept_or_taken_back
from httpapi.client.other_bases import fetch_others
from httpapi.client.push_state import Begun, open_state
from httpapi.client.push_terms import PushResult, plain, unfit
from httpapi.client.retrying import Retrying
from httpapi.wire.deltas import NewDelta
from httpapi.wire.images import PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpapi.client.api import ImagesApi
    from httpapi.client.block_file import Readable, Stamp
    from httpapi.client.block_names import NamesFile
    from httpapi.client.other_bases import OtherBases
    from httpapi.client.push_state import PushState
    from httpapi.client.push_terms import Keeping
    from httpapi.client.report import Report
    from httpapi.wire.deltas import DeltaRecord
    from httpapi.wire.images import ImageRecord

_TRIES: Final = 3
# Errors of an upload that has ended, or got other blocks than this file's: a new one can still become it.
_SEND_BYTES: Final = frozenset({"block-not-held", "block-refused"})
_BEGIN_ANEW: Final = frozenset({"block-conflict", "delta-incomplete", "gone", "not-found"})


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
        self._sent = self._unchanged = 0
        self._manifest = b""
        self._others: OtherBases | None = None
        # Whether this call has made the image just now, and the upload: then nothing of them need be asked for.
        self._created = self._new = False
        # Whether this call has asked for a commit: an image that is active is then what was read here.
        self._committed = False

    async def run(self, parent: ImageRecord) -> PushResult | None:
        began = monotonic()
        ready = await self._go_on(parent) or await self._begin(parent)
        if ready is None:
            return None
        begun, base = ready
        try:
            async with kept_or_taken_back(self._api, self._state, begun.image, self._report):
                self._others = await fetch_others(
                    self._deltas, self._keeping.others, base, self._retrying, self._report
                )
                image = await self._transfer(begun, base)
                verified = await self._verify(image, base)
        finally:
            base.close()
            self._forget_others()
        self._keep_names(begun.block_size, image.id)
        self._state.forget()
        seconds = monotonic() - began
        return PushResult(image, self._file.size, seconds, verified, unchanged=self._unchanged, sent=self._sent)

    async def _go_on(self, parent: ImageRecord) -> tuple[Begun, ImageNames] | None:
        """What an interrupted push has begun, if it can still become this file's image."""
        begun = self._state.load()
        if begun is None:
            return None
        try:
            image = await self._image(begun.image)
            base = ImageNames(self._state.base, bytes.fromhex(begun.manifest))
        except (NotFound, Mismatch, ValueError):
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
            self._report.note("the server has no delta sync: the whole image is sent")
            return None
        why = unfit(base, parent, self._want)
        if why is not None:
            base.close()
            self._report.note(f"{why}: the whole image is sent")
            return None
        image_id = str(self._want["id"] if "id" in self._want else uuid.uuid4())
        size, touched = self._file.size, self._keeping.touched is not None
        begun = Begun(image_id, None, parent.id, base.digest.hex(), size, base.header.block_size, touched)
        self._state.sent.clear()
        self._state.save(begun)
        try:
            await self._api.create_image({**self._want, PARENT: parent.id, "id": image_id})
        except ApiError as failure:
            if not may_pass(failure):
                self._state.forget()
            raise
        self._created = True
        return begun, base

    async def _transfer(self, begun: Begun, base: ImageNames) -> ImageRecord:
        """The image of what the file has now; as many uploads as it takes."""
        for last in (*[False] * (_TRIES - 1), True):
            if not self._created:
                image = await self._image(begun.image)
                if image.status == "active":
                    # The answer to an earlier commit was lost.
                    if self._committed or begun.was_read(self._file.stamp()):
                        return image
                    raise Overtaken(
                        f"image {image.id}, which an interrupted push began, is complete by now, with the bytes that "
                        f"{self._file.name} had then: push it again"
                    )
            delta, begun = await self._upload(begun)
            self._created = False
            try:
                return await self._send(begun, base, delta)
            except ChangedSince as failure:
                if last:
                    raise SourceRefused(f"{self._file.name} changes all the time: push a snapshot of it") from failure
                self._report.note("the file has changed since a part of it was sent: that part is sent anew")
            except ApiError as failure:
                if last or failure.code not in (_BEGIN_ANEW if self._others is None else _BEGIN_ANEW | _SEND_BYTES):
                    raise
                if failure.code in _SEND_BYTES:
                    self._forget_others()
                self._report.note(f"{failure}: beginning anew")
            with suppress(ApiError):
                await self._deltas.give_up(delta)
            self._state.sent.clear()
        raise AssertionError("the last try returns or raises")

    async def _image(self, image_id: str) -> ImageRecord:
        return await self._retrying(lambda: self._api.get_image(image_id))

    async def _upload(self, begun: Begun) -> tuple[DeltaRecord, Begun]:
        """The upload under way, or a new one."""
        delta = None if self._created else await self._retrying(lambda: self._deltas.under_way(begun.image))
        wanted = (begun.size, begun.block_size, begun.base)
        if delta is not None and (delta.size, delta.block_size, delta.base) != wanted:
            await self._deltas.give_up(delta)
            delta = None
        if delta is None or delta.id != begun.upload:
            self._state.sent.clear()
        self._new = delta is None
        if delta is None:
            delta = await self._new_upload(begun)
        # What names there are go with the next scan.
        begun = replace(begun, upload=delta.id, stamp=None)
        self._state.save(begun)
        return delta, begun

    async def _new_upload(self, begun: Begun) -> DeltaRecord:
        new = NewDelta(begun.size, begun.base, begun.block_size)
        try:
            return await self._retrying(lambda: self._deltas.begin(begun.image, new))
        except Conflict:
            # Ours, if the answer to a first request was lost.
            if (delta := await self._deltas.under_way(begun.image)) is None:
                raise
            self._new = False
            return delta

    async def _send(self, begun: Begun, base: ImageNames, delta: DeltaRecord) -> ImageRecord:
        self._committed = False
        cut = Geometry(self._file.size, begun.block_size)
        # Before what follows: of what is written during it, the names are not kept.
        began_us = now_us()
        if self._keeping.cache is not None and self._keeping.touched is None:
            await asyncio.to_thread(self._file.settle)
        stamp = self._file.stamp()
        cached = self._cached(stamp, begun.block_size)
        touched = None if self._keeping.touched is None else self._keeping.touched.blocks(cut)
        comparison = Comparison(cut, base, self._state.sent, cached=cached, touched=touched, others=self._others)
        sender = BlockSender(self._deltas, delta, comparison, self._retrying, self._count)
        try:
            if not self._new:
                comparison.has_arrived([each async for each in self._deltas.arrived(delta)])
            await self._scan(cut, comparison, sender)
            await sender.finish()
        finally:
            await sender.close()
            if cached is not None:
                cached.close()
        still = self._file.stamp() == stamp
        if self._file.end() != self._file.size:
            raise SourceRefused(self._file.changed_size())
        if not self._keeping.live and not still:
            raise SourceRefused(self._file.changed_bytes())
        self._state.save(replace(begun, stamp=plain(stamp) if still else None, began_us=began_us))
        arrived = int(comparison.arrived.sum())
        self._committed = True
        return await self._retrying(lambda: self._deltas.commit(delta, arrived))

    async def _scan(self, cut: Geometry, comparison: Comparison, sender: BlockSender) -> None:
        self._unchanged = 0
        self._state.names.clear()
        self._report.begin(self._file.size)
        async with BlockScan(self._file, cut).windows(comparison) as windows:
            async for looked in windows:
                self._state.names.write(looked.first, looked.names)
                await sender.add(looked)
                self._unchanged += comparison.unchanged(looked)
                self._report.moved(cut.stop(looked.first + looked.count - 1))
                self._report.compared(self._unchanged, self._sent)

    def _forget_others(self) -> None:
        if self._others is not None:
            self._others.close()
        self._others = None

    def _count(self, size: int) -> None:
        self._sent += size
        self._report.compared(self._unchanged, self._sent)

    def _cached(self, stamp: Stamp | None, block_size: int) -> NamesFile | None:
        if self._keeping.cache is None or stamp is None or self._keeping.touched is not None:
            return None
        return self._keeping.cache.find(stamp, block_size)

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
