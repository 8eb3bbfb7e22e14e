"""Pulling what changed: a file or device that has some of an image's blocks gets the others.

    manifest → compare, window by window, on several threads → fetch what is missing, several requests at once →
    each block checked by BLAKE3 and written → finish

Nothing is written down on the way: whoever goes on compares again. `None`: there is no delta sync of it.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi.client.block_fetch import BlockFetch
from httpapi.client.block_gap import MOST_BYTES, fill, parts_of
from httpapi.client.block_names import fetch_names
from httpapi.client.delta_api import DeltaApi
from httpapi.client.errors import LoginNeeded, NoData, SourceRefused, may_pass
from httpapi.client.lane import Lane
from httpapi.client.pull import PullResult
from httpapi.client.retrying import Retrying

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator

    from blockstore.resolve import Window
    from httpapi.client.api import ImagesApi
    from httpapi.client.block_file import BlockFile
    from httpapi.client.block_gap import Gap
    from httpapi.client.block_names import ImageNames
    from httpapi.client.report import Report
    from httpapi.client.update_target import UpdateTarget
    from httpapi.wire.images import ImageRecord

_MOST_THREADS: Final = 8


async def pull_changes(api: ImagesApi, image_id: str, target: UpdateTarget, report: Report) -> PullResult | None:
    """Makes `target` the image and finishes it; fetches only blocks that neither it nor its seeds have.

    Raises NoData, Mismatch, TargetRefused and whatever `api` raises. `target` is left to be gone on with after what may
    pass, and discarded after anything else, and when the answer is None.
    """
    began = monotonic()
    pull = _DeltaPull(api, target, report)
    async with _left_or_discarded(target, report):
        image = await pull.retrying(lambda: api.get_image(image_id))
        if image.size is None or image.status in {"queued", "saving", "uploading", "importing"}:
            raise NoData(f"image {image_id} has no data yet, it is {image.status}: push some, or wait for its upload")
        names = await pull.retrying(lambda: fetch_names(pull.deltas, image_id))
        if names is not None:
            try:
                report.begin(names.size)
                await pull.run(image, names)
            finally:
                names.close()
            seconds = monotonic() - began
            return PullResult(image, names.size, seconds, verified=True, unchanged=pull.here, received=pull.received)
    if target.can_gain:
        report.note("the server has no delta sync, or not for this image: the whole image comes")
    target.discard()
    return None


class _DeltaPull:
    def __init__(self, api: ImagesApi, target: UpdateTarget, report: Report) -> None:
        self.deltas = DeltaApi(api)
        self.retrying = Retrying(api, report)
        self.here = self.received = 0
        self._target = target
        self._report = report
        self._done = 0

    async def run(self, image: ImageRecord, names: ImageNames) -> None:
        threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)) + 1)
        lanes = [Lane(f"pull-{number}") for number in range(threads)]
        fetch = BlockFetch(self.deltas, image.id, names, self._target, self.retrying, self._arrived)
        try:
            here = await lanes[0].submit(partial(self._target.prepare, names.size))
            async for first, gap in self._gaps(lanes, here, names):
                self.here += gap.right
                self._moved(gap.right)
                await fetch.add([first + at for at in gap.missing])
            await fetch.finish()
            await lanes[0].submit(self._target.finish)
        finally:
            await fetch.close()
            for lane in lanes:
                lane.close(wait=False)
            for lane in lanes:
                lane.close(wait=True)

    async def _gaps(self, lanes: list[Lane], here: BlockFile, names: ImageNames) -> AsyncIterator[tuple[int, Gap]]:
        """(number of the first block, what is missing) of each part of the image, in order."""
        buffers = [memoryview(bytearray(MOST_BYTES)) for _ in lanes]
        ahead: deque[tuple[int, asyncio.Future[Gap]]] = deque()
        for turn, (first, part) in enumerate(_parts(names)):
            lane = turn % len(lanes)
            ahead.append((first, lanes[lane].submit(partial(fill, here, self._target, buffers[lane], part))))
            if len(ahead) >= 2 * len(lanes):
                number, answer = ahead.popleft()
                yield number, await answer
        while ahead:
            number, answer = ahead.popleft()
            yield number, await answer

    def _arrived(self, blocks: int, network: int) -> None:
        self.received += network
        self._moved(blocks)

    def _moved(self, count: int) -> None:
        self._done += count
        self._report.moved(self._done)
        self._report.compared(self.here, self.received)


def _parts(names: ImageNames) -> Iterator[tuple[int, Window]]:
    first = 0
    for window in names.windows(0, names.size):
        for at, part in parts_of(window):
            yield first + at, part
        first += len(window.digests)


@asynccontextmanager
async def _left_or_discarded(target: UpdateTarget, report: Report) -> AsyncIterator[None]:
    try:
        yield
    except Exception as failure:
        passes = isinstance(failure, LoginNeeded | SourceRefused) or may_pass(failure)
        report.note(target.leave() if passes else target.discard())
        raise
    except BaseException:
        report.note(target.leave())
        raise
