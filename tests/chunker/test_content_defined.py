from __future__ import annotations

import hashlib
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunker.content_defined import ALGORITHM, LARGEST, SMALLEST, USUAL, AverageRefused, ContentDefinedCutter

STREAM = random.Random(2026).randbytes(1 << 23)
SMALL = ContentDefinedCutter(SMALLEST)

# What the format's algorithm 1 makes of the first 8 MiB of Python's Random(2026): the number of blocks, the first ends,
# and the SHA-256 of all ends as 8 bytes each, little-endian, its first 16 bytes.
GOLDEN = {
    16 << 10: (414, [26539, 46630, 54618, 88505], "f0744c369eebefa2d7e3fadce652c3b1"),
    32 << 10: (211, [38215, 51112, 158647, 181728], "19b1e824a3d6f3a1eb02e2d8658ac7d3"),
    64 << 10: (108, [51112, 133048, 181728, 374564], "d8145391a4dc451d5c0cc54897e413e9"),
    128 << 10: (56, [133048, 374564, 599422, 723670], "a5830de48a18b73362f903ec89ac58ad"),
    256 << 10: (26, [374564, 723670, 873887, 1559645], "d6437a98c690e267424db43c77099035"),
    512 << 10: (11, [723670, 873887, 1735176, 2930295], "e9e9026f248ce0859fb6a77e99da8ab0"),
    1024 << 10: (7, [873887, 3030071, 4311411, 5067472], "0da3eb838fdc5a3bff7e4051bb0a4155"),
}


def ends_by_windows(cutter: ContentDefinedCutter, stream: bytes, lengths: list[int]) -> list[int]:
    """The ends in the stream when it is shown in windows so much longer than the tail of the one before."""
    ends: list[int] = []
    begins = shown = 0
    for length in lengths:
        shown = min(len(stream), max(shown, begins + cutter.longest) + length)
        cut = cutter.cut(memoryview(stream)[begins:shown], last=False)
        assert cut or shown - begins < cutter.longest, "a window as long as the longest block has an end"
        ends += [begins + end for end in cut]
        begins = ends[-1] if ends else 0
    return ends + [begins + end for end in cutter.cut(memoryview(stream)[begins:], last=True)]


@pytest.mark.parametrize("average", GOLDEN)
def test_the_ends_of_a_fixed_stream_are_those_that_the_format_says(average: int) -> None:
    number, first, name = GOLDEN[average]
    ends = ContentDefinedCutter(average).cut(memoryview(STREAM), last=True)
    packed = b"".join(end.to_bytes(8, "little") for end in ends)
    assert ALGORITHM == 1, "another algorithm has another table"
    assert (len(ends), list(ends[:4])) == (number, first)
    assert hashlib.sha256(packed).hexdigest()[:32] == name


segments = st.lists(
    st.tuples(st.sampled_from(["random", "zeros", "same", "text"]), st.integers(1, 150_000), st.integers(0, 5)),
    max_size=6,
)


def bytes_of(parts: list[tuple[str, int, int]]) -> bytes:
    return b"".join(segment(kind, length, seed) for kind, length, seed in parts)


def segment(kind: str, length: int, seed: int) -> bytes:
    if kind == "random":
        return random.Random(seed).randbytes(length)
    repeated = {"zeros": b"\0", "same": bytes([seed + 1]), "text": b"a line of text %d\n" % seed}[kind]
    return (repeated * (length // len(repeated) + 1))[:length]


@given(parts=segments, windows=st.lists(st.integers(0, 200_000), max_size=12))
def test_any_split_into_windows_gives_the_same_ends(parts: list[tuple[str, int, int]], windows: list[int]) -> None:
    stream = bytes_of(parts)
    assert ends_by_windows(SMALL, stream, windows) == SMALL.cut(memoryview(stream), last=True)


@given(parts=segments, shown=st.floats(0, 1))
def test_an_end_that_was_given_stays_whatever_follows(parts: list[tuple[str, int, int]], shown: float) -> None:
    stream = bytes_of(parts)
    whole = list(SMALL.cut(memoryview(stream), last=True))
    ends = list(SMALL.cut(memoryview(stream)[: int(shown * len(stream))], last=False))
    assert ends == whole[: len(ends)]


@given(parts=segments)
def test_lengths_lie_between_the_shortest_and_the_longest(parts: list[tuple[str, int, int]]) -> None:
    stream = bytes_of(parts)
    ends = SMALL.cut(memoryview(stream), last=True)
    lengths = [end - start for start, end in itertools.pairwise([0, *ends])]
    assert sum(lengths) == len(stream)
    assert all(SMALL.shortest <= length <= SMALL.longest for length in lengths[:-1])
    assert all(0 < length <= SMALL.longest for length in lengths[-1:])


@pytest.mark.parametrize("average", GOLDEN)
def test_a_run_of_zeros_is_cut_at_the_longest_length(average: int) -> None:
    cutter = ContentDefinedCutter(average)
    longest = cutter.longest
    assert list(cutter.cut(memoryview(bytes(3 * longest)), last=False)) == [longest, 2 * longest, 3 * longest]


def test_an_inserted_byte_moves_few_ends() -> None:
    before = ContentDefinedCutter().cut(memoryview(STREAM), last=True)
    at = len(STREAM) // 2
    after = ContentDefinedCutter().cut(memoryview(STREAM[:at] + b"!" + STREAM[at:]), last=True)
    kept = {end for end in after if end <= at} | {end - 1 for end in after if end > at}
    assert len(kept & set(before)) >= len(before) - 3


def test_an_empty_stream_has_no_block() -> None:
    assert list(ContentDefinedCutter().cut(memoryview(b""), last=True)) == []


def test_it_says_that_its_blocks_are_not_aligned() -> None:
    assert ContentDefinedCutter().aligned == 0


@pytest.mark.parametrize("average", GOLDEN)
def test_the_longest_block_is_one_that_a_pack_can_hold(average: int) -> None:
    cutter = ContentDefinedCutter(average)
    assert (cutter.shortest, cutter.longest) == (average // 4, average * 4)
    assert cutter.longest <= 4 << 20


@pytest.mark.parametrize("average", [0, 1, SMALLEST // 2, USUAL + 1, 3 * SMALLEST, 2 * LARGEST])
def test_other_averages_are_refused_with_what_to_choose(average: int) -> None:
    with pytest.raises(AverageRefused, match="choose a power of two from 16384 to 1048576 bytes"):
        ContentDefinedCutter(average)
