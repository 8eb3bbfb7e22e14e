from __future__ import annotations

import contextlib
import itertools
import random
import resource
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from blockstore import frames
from blockstore.errors import Damaged

BLOCK = b"stone on stone, " * 256
NOISE = random.Random(4).randbytes(4096)
FRAME = frames.compress(BLOCK)


@given(block=st.one_of(st.binary(max_size=300), st.integers(1, 1 << 20).map(bytes)))
def test_a_block_comes_back(block: bytes) -> None:
    assert frames.decompress(frames.compress(block), len(block)) == block


def test_a_frame_says_its_size_and_has_a_checksum() -> None:
    claims = zstandard.get_frame_parameters(FRAME)
    assert (claims.content_size, claims.has_checksum, claims.dict_id) == (len(BLOCK), True, 0)


def test_slices_of_a_slab_are_taken_as_they_are() -> None:
    slab = bytearray(b"..." + BLOCK)
    packed = bytearray(b"head" + frames.compress(memoryview(slab)[3:]) + b"tail")
    assert frames.decompress(memoryview(packed)[4:-4], len(BLOCK)) == BLOCK


def test_every_thread_has_tools_of_its_own() -> None:
    blocks = [random.Random(seed).randbytes(2000) * 8 for seed in range(40)]
    with ThreadPoolExecutor(4) as threads:
        packed = list(threads.map(frames.compress, blocks))
        assert list(threads.map(frames.decompress, packed, map(len, blocks))) == blocks


def by_hand(
    content: bytes, *, claimed: int | None = None, window_log: int = 17, block_header: int | None = None
) -> bytes:
    """A frame of one stored block, written by hand: so that its header can lie."""
    head = struct.pack(
        "<IBBI",
        zstandard.MAGIC_NUMBER,
        0b10_0_0_0_1_00,
        window_log - 10 << 3,
        len(content) if claimed is None else claimed,
    )
    block = len(content) << 3 | 1 if block_header is None else block_header
    return (
        head + block.to_bytes(3, "little") + content + struct.pack("<I", xxhash.xxh64_intdigest(content) & 0xFFFFFFFF)
    )


def flags(*, checksum: bool = True, size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=checksum, write_content_size=size).compress(BLOCK)


def with_dictionary() -> bytes:
    samples: list[bytes | bytearray | memoryview] = [b"stone %d on stone %d, " % (n, n * 7) * 8 for n in range(200)]
    trained = zstandard.train_dictionary(2000, samples)
    return zstandard.ZstdCompressor(level=1, write_checksum=True, dict_data=trained).compress(BLOCK)


SKIPPABLE = struct.pack("<II", 0x184D2A5D, 4096) + bytes(4096)


def test_a_frame_written_by_hand_is_a_right_one() -> None:
    assert frames.decompress(by_hand(NOISE), len(NOISE)) == NOISE
    assert frames.decompress(by_hand(NOISE, window_log=23), len(NOISE)) == NOISE


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(FRAME + FRAME, id="two frames"),
        pytest.param(FRAME + b"\0", id="a byte more"),
        pytest.param(FRAME + SKIPPABLE, id="a skippable frame behind"),
        pytest.param(SKIPPABLE, id="a skippable frame of the right length"),
        pytest.param(FRAME[:-1], id="a byte less"),
        pytest.param(FRAME[:4], id="only the magic number"),
        pytest.param(b"", id="nothing"),
        pytest.param(BLOCK, id="no frame"),
        pytest.param(frames.compress(BLOCK + b"more"), id="too long"),
        pytest.param(frames.compress(BLOCK[:-1]), id="too short"),
        pytest.param(frames.compress(b""), id="empty"),
        pytest.param(flags(checksum=False), id="no checksum"),
        pytest.param(flags(size=False), id="no content size"),
        pytest.param(with_dictionary(), id="a dictionary id"),
        pytest.param(by_hand(NOISE[:-1], claimed=4096), id="claims a byte more than it has"),
        pytest.param(by_hand(NOISE + b"x", claimed=4096), id="claims a byte less than it has"),
        pytest.param(by_hand(NOISE, claimed=(1 << 32) - 1), id="claims 4 GiB"),
        pytest.param(by_hand(NOISE, window_log=24), id="wants a window of 16 MiB"),
        pytest.param(by_hand(NOISE, window_log=31), id="wants a window of 2 GiB"),
        pytest.param(by_hand(b"\0", claimed=4096, block_header=(4096 << 3) | 3), id="another block type"),
    ],
)
def test_a_frame_that_lies_is_damaged(lie: bytes) -> None:
    with pytest.raises(Damaged):
        frames.decompress(lie, 4096)


@given(at=st.integers(0, len(FRAME) * 8 - 1))
def test_a_flipped_bit_gives_the_same_bytes_or_damaged(at: int) -> None:
    bad = bytearray(FRAME)
    bad[at // 8] ^= 1 << at % 8
    with contextlib.suppress(Damaged):
        assert frames.decompress(bytes(bad), len(BLOCK)) == BLOCK


@given(junk=st.binary(max_size=200), length=st.integers(0, 1 << 22))
def test_anything_else_is_damaged_and_no_other_error(junk: bytes, length: int) -> None:
    with pytest.raises(Damaged):
        frames.decompress(zstandard.FRAME_HEADER + junk, length)


def test_a_huge_claim_costs_no_memory() -> None:
    # The library would allocate what the frame claims, so the claim is compared before.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        with pytest.raises(Damaged, match="claims 4294967295 bytes where a block has 4096"):
            frames.decompress(by_hand(NOISE, claimed=(1 << 32) - 1), 4096)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def entries(*blocks: bytes) -> bytes:
    return b"".join(
        part for block in blocks for part in (SKIPPED, frames.compress(block), frames.zeros(3), frames.zeros(0))
    )


SKIPPED = struct.pack("<II", 0x184D2A5D, 5) + b"entry"


@given(cuts=st.lists(st.integers(0, 400), max_size=30))
def test_frames_that_arrive_in_any_pieces_give_the_same_bytes(cuts: list[int]) -> None:
    blocks = [b"one" * 100, b"", b"two" * 50]
    sent = entries(*blocks)
    at = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    stream = frames.FrameStream(1000)
    found = b"".join(piece for a, b in itertools.pairwise(at) for piece in stream.feed(sent[a:b]))
    stream.finish()
    assert found == b"".join(block + bytes(3) for block in blocks)


@pytest.mark.parametrize(
    "sent",
    [
        frames.compress(b"x" * 1001),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100),
        b"this is no frame at all",
        frames.compress(b"x" * 500)[:-1] + b"?",
    ],
)
def test_a_frame_that_is_too_long_or_states_no_length_or_is_none_is_refused(sent: bytes) -> None:
    with pytest.raises(Damaged):
        b"".join(frames.FrameStream(1000).feed(sent))


@pytest.mark.parametrize("missing", [1, 5, 30])
def test_a_stream_that_ends_within_a_frame_is_refused(missing: int) -> None:
    sent = entries(b"some bytes" * 10) + SKIPPED + frames.compress(random.Random(1).randbytes(100))
    stream = frames.FrameStream(1000)
    b"".join(stream.feed(sent[:-missing]))
    with pytest.raises(Damaged, match="no end"):
        stream.finish()


def test_two_streams_in_turn_on_one_thread_do_not_mix() -> None:
    blocks = [random.Random(seed).randbytes(2000) for seed in range(2)]
    sent, streams = [frames.compress(block) for block in blocks], [frames.FrameStream(2000) for _ in blocks]
    found = [b"".join(stream.feed(frame[:900])) for stream, frame in zip(streams, sent, strict=True)]
    found = [
        begun + b"".join(stream.feed(frame[900:])) for begun, stream, frame in zip(found, streams, sent, strict=True)
    ]
    assert found == blocks


@pytest.mark.parametrize("runs", [1000, 2_000_000])
def test_a_frame_that_unpacks_to_more_than_it_states_costs_no_memory(runs: int) -> None:
    claimed = 4 << 20
    head = struct.pack("<IBBI", zstandard.MAGIC_NUMBER, 0b10_0_0_0_1_00, 17 - 10 << 3, claimed)
    run = ((128 * 1024) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    end = ((128 * 1024) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0" + bytes(4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Damaged, match=r"cannot be decompressed|is longer than one"):
        b"".join(frames.FrameStream(claimed).feed(head + run * runs + end))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


def test_a_frame_to_skip_is_not_held_however_long_it_says_it_is() -> None:
    stream = frames.FrameStream(1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert list(stream.feed(struct.pack("<II", 0x184D2A5D, 0xFFFFFFFF))) == []
    for _ in range(200):
        assert list(stream.feed(bytes(1 << 20))) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
    with pytest.raises(Damaged, match="no end"):
        stream.finish()
