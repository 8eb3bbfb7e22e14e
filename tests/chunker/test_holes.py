from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunker.holes import find_holes, is_zero

LENGTHS = [0, 1, 7, 8, 9, 15, 16, 17, 31, 64, 100, 4096, 4099]


@pytest.mark.parametrize("length", LENGTHS)
def test_zeros_of_any_length_are_a_hole(length: int) -> None:
    assert is_zero(memoryview(bytes(length)))


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_one_byte_anywhere_is_no_hole(length: int) -> None:
    for at in {0, length // 3, length // 2, length - 1, max(0, length - 2)}:
        block = bytearray(length)
        block[at] = 1
        assert not is_zero(memoryview(block))


def test_a_block_may_begin_anywhere_in_memory() -> None:
    buffer = bytearray(b"\x01") + bytearray(100)
    for start in range(1, 17):
        assert is_zero(memoryview(buffer)[start:])


def expected(window: bytes, ends: list[int]) -> list[bool]:
    return [not any(window[start:end]) for start, end in itertools.pairwise([0, *ends])]


# Mostly zeros, with a byte here and there: what makes holes and near-holes likely.
pieces = st.lists(
    st.one_of(
        st.integers(1, 70).map(bytes),
        st.tuples(st.integers(1, 70), st.floats(0, 1)).map(
            lambda drawn: (
                bytes(int(drawn[1] * (drawn[0] - 1))) + b"\x80" + bytes(drawn[0] - 1 - int(drawn[1] * (drawn[0] - 1)))
            )
        ),
    ),
    min_size=1,
    max_size=30,
)


@given(pieces=pieces, size=st.sampled_from([1, 3, 8, 12, 16, 24, 32, 64]))
def test_holes_of_even_blocks_with_an_odd_tail_are_found(pieces: list[bytes], size: int) -> None:
    window = b"".join(pieces)
    ends = [*range(size, len(window), size), len(window)]
    assert find_holes(memoryview(window), ends).tolist() == expected(window, ends)


@given(pieces=pieces)
def test_holes_of_uneven_blocks_are_found_as_a_content_defined_cutter_makes_them(pieces: list[bytes]) -> None:
    window = b"".join(pieces)
    ends = list(itertools.accumulate(len(piece) for piece in pieces))
    assert find_holes(memoryview(window), ends).tolist() == expected(window, ends)


@given(even=st.integers(1, 8), pieces=pieces, offset=st.integers(0, 9))
def test_blocks_that_are_even_at_first_and_uneven_then_are_found_in_a_slice_of_a_slab(
    even: int, pieces: list[bytes], offset: int
) -> None:
    window = bytes(even * 16) + b"".join(pieces)
    slab = bytearray(b"\xff" * offset) + window + b"\xff" * 5
    ends = [*range(16, even * 16 + 1, 16)]
    ends += [ends[-1] + length for length in itertools.accumulate(len(piece) for piece in pieces)]
    assert find_holes(memoryview(slab)[offset : offset + len(window)], ends).tolist() == expected(window, ends)


def test_the_tail_behind_the_last_end_is_not_looked_at() -> None:
    window = memoryview(bytes(64) + b"\x01" * 10)
    assert find_holes(window, [32, 64]).tolist() == [True, True]


def test_a_window_without_ends_has_no_holes() -> None:
    assert find_holes(memoryview(bytes(10)), []).shape == (0,)
