from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunker.fixed import LONGEST, SMALLEST, USUAL, BlockSizeRefused, FixedCutter

SIZE = 4096


def ends_by_windows(cutter: FixedCutter, stream: bytes, windows: list[int]) -> list[int]:
    """The ends in the stream when it is shown in windows of these lengths, each after the tail of the one before."""
    ends: list[int] = []
    begins = shown = 0
    for length in windows:
        shown = min(len(stream), max(shown, begins + cutter.longest) + length)
        cut = cutter.cut(memoryview(stream)[begins:shown], last=False)
        ends += [begins + end for end in cut]
        begins = ends[-1] if ends else 0
    return ends + [begins + end for end in cutter.cut(memoryview(stream)[begins:], last=True)]


@given(length=st.integers(0, 20 * SIZE), windows=st.lists(st.integers(0, 6 * SIZE), max_size=8))
def test_any_split_into_windows_gives_the_same_ends(length: int, windows: list[int]) -> None:
    stream = bytes(length)
    cutter = FixedCutter(SIZE)
    assert ends_by_windows(cutter, stream, windows) == cutter.cut(memoryview(stream), last=True)


@given(length=st.integers(0, 20 * SIZE), last=st.booleans())
def test_every_block_has_the_size_and_only_the_last_of_all_is_shorter(length: int, last: bool) -> None:  # noqa: FBT001 - drawn
    ends = FixedCutter(SIZE).cut(memoryview(bytes(length)), last=last)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert all(size == SIZE for size in lengths[:-1])
    assert all(0 < size <= SIZE for size in lengths)
    assert (ends[-1] if ends else 0) == (length if last else length - length % SIZE)


def test_a_window_as_long_as_the_longest_block_always_has_an_end() -> None:
    cutter = FixedCutter(SIZE)
    assert cutter.cut(memoryview(bytes(cutter.longest)), last=False) == [SIZE]


def test_an_empty_stream_has_no_block() -> None:
    assert FixedCutter().cut(memoryview(b""), last=True) == []


def test_it_says_that_its_blocks_are_aligned() -> None:
    assert FixedCutter().aligned == FixedCutter().longest == USUAL


@pytest.mark.parametrize("size", [1 << n for n in range(12, 23)])
def test_powers_of_two_from_4_kib_to_4_mib_are_block_sizes(size: int) -> None:
    assert FixedCutter(size).longest == size


@pytest.mark.parametrize("size", [0, -SIZE, 1, SMALLEST // 2, SMALLEST + 1, 3 * SMALLEST, LONGEST * 2])
def test_other_block_sizes_are_refused_with_what_to_choose(size: int) -> None:
    with pytest.raises(BlockSizeRefused, match="choose a power of two from 4096 to 4194304 bytes"):
        FixedCutter(size)
