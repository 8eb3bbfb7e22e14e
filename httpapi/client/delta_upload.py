"""The upload of a push of changes: scan, compare, send, commit; begun anew as often as it takes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.clock import now_us
from httpapi.client.block_scan import BlockScan, Geometry
from httpapi.client.block_sender import BlockSender
from httpapi.client.comparison import ChangedSince, Comparison
from httpapi.client.cut_disks import note_lost
from httpapi.client.errors import ApiError, Conflict, SourceRefused
from httpapi.client.known_names import KnownNames, known_below
from httpapi.client.left_behind import Overtaken
from httpapi.client.other_bases import fetch_others
from httpapi.client.push_terms import plain
from httpapi.wire.deltas import NewDelta

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from httpapi.client.block_file import Readable, Stamp
    from httpapi.client.block_names import ImageNames
    from httpapi.client.delta_api import DeltaApi
    from httpapi.client.other_bases import OtherBases
    from httpapi.client.push_state import Begun, PushState
    from httpapi.client.push_terms import Keeping
    from httpapi.client.report import Report
    from httpapi.client.retrying import Retrying
    from httpapi.wire.deltas import DeltaRecord
    from httpapi.wire.images import ImageRecord

_TRIES: Final = 3
# Errors of an upload that has ended, or got other blocks than this file's: a new one can still become it.
_SEND_BYTES: Final = frozenset({"block-not-held", "block-refused"})
_BEGIN_ANEW: Final = frozenset({"block-conflict", "delta-damaged", "delta-incomplete", "gone", "not-found"})


class DeltaUpload:
    """Makes an image what `file` has now. `sent` and `unchanged` are bytes, of the requests and of the image."""

    def __init__(
        self,
        deltas: DeltaApi,
        file: Readable,
        keeping: Keeping,
        state: PushState,
        retrying: Retrying,
        report: Report,
    ) -> None:
        self.sent = self.unchanged = 0
        self._deltas = deltas
        self._file = file
        self._keeping = keeping
        self._state = state
        self._retrying = retrying
        self._report = report
        self._others: OtherBases | None = None
        # Whether the image has just been made, and the upload: then nothing of them need be asked for.
        self._created = self._new = False
        # Whether this call has asked for a commit: an image that is active is then what was read here.
        self._committed = False

    async def become(self, begun: Begun, base: ImageNames, *, created: bool) -> ImageRecord:
        """The active image; `created` says that it has been made just now, and has no upload yet.

        Raises SourceRefused, Overtaken and whatever the API raises.
        """
        self._created = created
        self._others = await fetch_others(self._deltas, self._keeping.others, base, self._retrying, self._report)
        try:
            return await self._transfer(begun, base)
        finally:
            self._forget_others()

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

    async def _touched(self, begun: Begun, cut: Geometry, base: ImageNames) -> NDArray[np.bool_] | None:
        """The blocks that may differ from the base; None if all may."""
        told = self._keeping.touched
        if told is None:
            return None
        touched = told.blocks(cut)
        if told.clean_end is not None:
            await note_lost(touched, told.clean_end, cut, base, partial(self._read_base, begun.base))
        return touched

    async def _read_base(self, image_id: str, start: int, stop: int) -> bytes | None:
        try:
            return await self._retrying(lambda: self._deltas.api.read_part(image_id, start, stop))
        except ApiError:
            # Whoever may not read it sends what the disk has now.
            return None

    async def _image(self, image_id: str) -> ImageRecord:
        return await self._retrying(lambda: self._deltas.api.get_image(image_id))

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
        cached = await asyncio.to_thread(self._known, stamp, cut)
        touched = await self._touched(begun, cut, base)
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
        self.unchanged = 0
        self._state.names.clear()
        self._report.begin(self._file.size)
        async with BlockScan(self._file, cut).windows(comparison) as windows:
            async for looked in windows:
                self._state.names.write(looked.first, looked.names)
                await sender.add(looked)
                self.unchanged += comparison.unchanged(looked)
                self._report.moved(cut.stop(looked.first + looked.count - 1))
                self._report.compared(self.unchanged, self.sent)

    def _forget_others(self) -> None:
        if self._others is not None:
            self._others.close()
        self._others = None

    def _count(self, size: int) -> None:
        self.sent += size
        self._report.compared(self.unchanged, self.sent)

    def _known(self, stamp: Stamp | None, cut: Geometry) -> KnownNames | None:
        cache = self._keeping.cache
        if cache is None or stamp is None or self._keeping.touched is not None:
            return None
        names = cache.find(stamp, cut.block_size)
        if names is not None:
            return KnownNames(names)
        found = known_below(self._file, cut, cache)
        if found is None:
            return None
        self._report.tell(f"only what lies over {found[1].name} is read: that is as it was when it was pushed")
        return found[0]
