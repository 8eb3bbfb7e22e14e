"""What comes as it is stored becomes the image again, in bounded pieces, or an interruption that is tried again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from blockstore import frames
from httpapi.client.errors import Interrupted
from httpapi.client.unpacking import unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def run(*sent: bytes) -> list[bytes]:
    async def arriving() -> AsyncGenerator[bytes, None]:
        for data in sent:
            yield data

    async def collect() -> list[bytes]:
        return [piece async for piece in unpacked(arriving())]

    return asyncio.run(collect())


def test_a_few_bytes_that_are_gibibytes_of_zeros_come_in_small_pieces() -> None:
    pieces = run(frames.zeros(4 << 20) * 40)
    assert sum(map(len, pieces)) == 160 << 20
    assert max(map(len, pieces)) <= 5 << 20


def test_small_blocks_come_together() -> None:
    pieces = run(b"".join(frames.compress(bytes([at]) * 65536) for at in range(64)))
    assert b"".join(pieces) == b"".join(bytes([at]) * 65536 for at in range(64))
    assert len(pieces) == 4


@pytest.mark.parametrize("sent", [b"no frame, and long enough", frames.compress(b"x" * 1000)[:-3]])
def test_what_is_broken_is_an_interruption(sent: bytes) -> None:
    with pytest.raises(Interrupted, match="cannot be unpacked"):
        run(sent)
