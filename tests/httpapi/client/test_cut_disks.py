"""A disk that was cut and made longer again: what it lost is read; of any other, nothing more than was written."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpapi.client.block_scan import Geometry
from httpapi.client.cut_disks import end_of_clean, note_lost

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 1 << 16


@pytest.mark.parametrize(
    ("data", "dirty", "end"),
    [
        ([], [], 0),
        ([(0, 10)], [], 10),
        ([(0, 10)], [(0, 10)], 0),
        ([(0, 10)], [(5, 5)], 5),
        ([(0, 10)], [(5, 50)], 5),
        ([(0, 10), (20, 10)], [(20, 10)], 10),
        ([(20, 10), (0, 10)], [(15, 6), (21, 20)], 10),
        ([(0, 30)], [(10, 5), (15, 15)], 10),
        ([(0, 30)], [(20, 5)], 30),
    ],
)
def test_where_the_last_clean_data_ends(
    data: Sequence[tuple[int, int]], dirty: Sequence[tuple[int, int]], end: int
) -> None:
    assert end_of_clean(data, dirty) == end


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=9)


@given(SPANS, SPANS)
def test_it_is_the_end_that_a_look_at_each_byte_finds(
    data: list[tuple[int, int]], dirty: list[tuple[int, int]]
) -> None:
    def apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        # As maps are: in order, none over another.
        found, at = [], 0
        for offset, length in sorted(spans):
            if offset >= at:
                found.append((offset, length))
                at = offset + length
        return found

    data, dirty = apart(data), apart(dirty)
    clean = {byte for o, n in data for byte in range(o, o + n)} - {byte for o, n in dirty for byte in range(o, o + n)}
    assert end_of_clean(data, dirty) == max(clean, default=-1) + 1


def noted(held: Sequence[int], dirty: Sequence[int], end: int, of_base: bytes | None = b"") -> tuple[list[int], int]:
    """The blocks that are touched, of 100; and how often the base was asked for bytes."""
    cut = Geometry(100 * BLOCK, BLOCK)
    names = np.zeros((100, 32), dtype=np.uint8)
    names[list(held)] = 1
    base: Any = SimpleNamespace(
        header=SimpleNamespace(size=100 * BLOCK), names=lambda first, count: names[first : first + count]
    )
    touched = np.zeros(100, dtype=np.bool_)
    touched[list(dirty)] = True
    asked = []

    async def read(start: int, stop: int) -> bytes | None:
        assert start == end
        asked.append(stop)
        return of_base

    asyncio.run(note_lost(touched, end, cut, base, read))
    return [int(each) for each in touched.nonzero()[0]], len(asked)


def test_of_a_disk_that_was_not_cut_nothing_more_is_read() -> None:
    assert noted(held=range(50), dirty=[3, 49], end=49 * BLOCK) == ([3, 49], 0)
    assert noted(held=range(100), dirty=[], end=100 * BLOCK) == ([], 0)
    assert noted(held=[], dirty=[], end=0) == ([], 0)
    # Its last data ends in a block that is zeros behind it, as it was.
    assert noted(held=range(50), dirty=[3], end=50 * BLOCK - 4096, of_base=bytes(4096)) == ([3], 1)


def test_what_was_lost_behind_the_cut_is_read_and_the_cluster_that_was_cut() -> None:
    touched, asked = noted(held=[*range(60), 90], dirty=[70, 90], end=40 * BLOCK)
    assert (touched, asked) == ([*range(8, 60), 70, 90], 0)
    assert noted(held=[80], dirty=[], end=0) == ([80], 0)


@pytest.mark.parametrize("of_base", [b"lost", None])
def test_a_cut_within_the_last_block_with_data_is_found_by_the_bases_own(of_base: bytes | None) -> None:
    touched, asked = noted(held=range(50), dirty=[], end=49 * BLOCK + 512, of_base=of_base)
    assert (touched, asked) == ([*range(17, 50)], 1)
