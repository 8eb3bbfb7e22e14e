"""An image that comes as it is stored, `application/zstd`: unpacked on a thread while the next bytes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore.errors import Damaged
from blockstore.frames import LONGEST_ZEROS, FrameStream
from httpapi.client.errors import Interrupted
from httpapi.client.lane import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

STORED: Final = "application/zstd"
ACCEPT: Final = f"{STORED}, application/octet-stream;q=0.5"
_AT_ONCE: Final = 1 << 20
"""Bytes that one turn on the thread unpacks before they are handed on: frames of zeros are small and become much."""


async def unpacked(arriving: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The image's own bytes, in pieces of a few MiB at most; Interrupted if what came is no whole row of frames."""
    # No block is longer than the longest run of zeros.
    frames = FrameStream(LONGEST_ZEROS)
    lane = Lane("pull-unpack")
    try:
        async for data in arriving:
            blocks = frames.feed(data)
            while piece := await lane.submit(lambda blocks=blocks: _some(blocks)):  # type: ignore[misc]  # mypy can't infer a lambda's defaults
                yield piece
        frames.finish()
    except Damaged as failure:
        raise Interrupted(f"what the server sent cannot be unpacked ({failure})") from failure
    finally:
        lane.close(wait=True)
        await arriving.aclose()


def _some(blocks: Iterator[bytes]) -> bytes:
    taken: list[bytes] = []
    size = 0
    for block in blocks:
        taken.append(block)
        size += len(block)
        if size >= _AT_ONCE:
            break
    return taken[0] if len(taken) == 1 else b"".join(taken)
