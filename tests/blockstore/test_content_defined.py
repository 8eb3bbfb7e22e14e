"""Images that are cut by content, through the whole store: any bytes, any split, any range, shifted copies."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockstore.data_dir import encode_format
from blockstore.digest import HOLE, digest
from blockstore.features import CONTENT_DEFINED, Features
from blockstore.names import new_name
from blockstore.store import BlockStore, StoreOptions
from chunker.cutting import CutKind, Cutting
from tests.blockstore.shelf import records_in
from tests.blockstore.test_property_round_trip import bytes_of, segments, split
from tests.kit.images_in_store import link, manifest_blocks, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CUTTING = Cutting(CutKind.CONTENT_DEFINED, 16 * 1024)
OPTIONS = StoreOptions(
    slab=96 * 1024,
    slab_budget=2 << 20,
    generation_bytes=1 << 18,
    generation_seconds=0.01,
    pack_full=1 << 20,
    index_map=1 << 30,
)
slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
long_segments = st.lists(segments.map(bytes_of), min_size=1, max_size=4).map(b"".join)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockStore]:
    opened = BlockStore.open(tmp_path_factory.mktemp("data"), OPTIONS)
    yield opened
    opened.close()


def expected_blocks(data: bytes, cutting: Cutting) -> list[bytes]:
    ends = cutting.cutter().cut(memoryview(data), last=True)
    parts = [data[start:end] for start, end in itertools.pairwise([0, *ends])]
    return [digest(part) if any(part) else HOLE for part in parts]


@slow
@given(data=long_segments, cuts=st.lists(st.floats(0, 1), max_size=6))
def test_any_bytes_in_any_pieces_give_the_same_blocks_and_come_back(
    store: BlockStore, data: bytes, cuts: list[float]
) -> None:
    result = write_image(store, split(data, cuts), cutting=CUTTING)
    blocks = expected_blocks(data, CUTTING)
    assert manifest_blocks(store, [link(result)]) == blocks
    assert read_image(store, [link(result)]) == data
    assert (result.size, result.hole_blocks) == (len(data), blocks.count(HOLE))
    assert result.taps["md5"] == hashlib.md5(data).hexdigest()
    again = write_image(store, [data], cutting=CUTTING)
    assert (again.new_blocks, again.new_bytes) == (0, 0), "a block already held is not written again"
    assert again.manifest.digest == result.manifest.digest, "the same bytes make the same manifest"


@slow
@given(data=long_segments, start=st.floats(0, 1), length=st.floats(0, 1))
def test_any_range_of_an_image_reads_right(store: BlockStore, data: bytes, start: float, length: float) -> None:
    reader = store.reader([link(write_image(store, [data], cutting=CUTTING))])
    begins = int(start * (len(data) - 1))
    ends = max(begins + 1, begins + int(length * (len(data) - begins)))
    assert b"".join(reader.read(begins, ends)) == data[begins:ends]
    reader.close()


@pytest.mark.parametrize("size", [16 << 10, 64 << 10, 256 << 10, 1 << 20])
def test_every_average_goes_through_slabs_and_back(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(9_000_001) + bytes(5_000_000)
    cutting = Cutting(CutKind.CONTENT_DEFINED, size)
    opened = BlockStore.open(tmp_path, StoreOptions(index_map=1 << 30))
    try:
        result = write_image(opened, [data], cutting=cutting)
        assert manifest_blocks(opened, [link(result)]) == expected_blocks(data, cutting)
        assert read_image(opened, [link(result)]) == data
    finally:
        opened.close()


def test_a_copy_that_is_shifted_by_a_byte_is_nearly_all_held(store: BlockStore) -> None:
    data = random.Random(31).randbytes(3_000_000)
    first = write_image(store, [data], cutting=CUTTING)
    at = len(data) // 2
    shifted = write_image(store, [b"!", data[:at], b"some more bytes", data[at:]], cutting=CUTTING)
    assert shifted.held_blocks >= 0.9 * first.new_blocks
    assert shifted.new_blocks <= 6
    evenly = write_image(store, [b"!", data], block_size=4096)
    assert evenly.held_blocks == 0, "what fixed blocks make of the same"


def test_an_image_of_zeros_is_holes_only(store: BlockStore) -> None:
    size = 10 * CUTTING.longest + 7
    result = write_image(store, [bytes(size)], cutting=CUTTING)
    assert (result.hole_blocks, result.new_blocks, result.new_bytes) == (11, 0, 0)
    assert read_image(store, [link(result)]) == bytes(size)


def test_an_empty_image_is_empty(store: BlockStore) -> None:
    result = write_image(store, [], cutting=CUTTING)
    assert result.size == 0
    assert read_image(store, [link(result)]) == b""


def test_an_image_cut_by_content_over_a_base_is_whole(store: BlockStore) -> None:
    data = random.Random(41).randbytes(300_000)
    for cutting in (CUTTING, Cutting(CutKind.FIXED, 16 * 1024)):
        base = [link(write_image(store, [data], cutting=cutting))]
        result = write_image(store, [data], base=base, cutting=CUTTING)
        assert (result.manifest.depth, result.manifest.base) == (0, None)
        assert read_image(store, [link(result)]) == data


def test_a_base_cut_by_content_makes_a_whole_image(store: BlockStore) -> None:
    data = random.Random(42).randbytes(300_000)
    base = [link(write_image(store, [data], cutting=CUTTING))]
    result = write_image(store, [data], base=base, block_size=CUTTING.size)
    assert (result.manifest.depth, result.manifest.base) == (0, None)
    assert read_image(store, [link(result)]) == data


def test_the_journal_has_every_data_block_by_its_ordinal(tmp_path: Path) -> None:
    data = random.Random(43).randbytes(500_000) + bytes(200_000) + random.Random(44).randbytes(100_000)
    pin = new_name().hex()
    opened = BlockStore.open(tmp_path, OPTIONS)
    try:
        write_image(opened, [data], cutting=CUTTING, pin=pin)
    finally:
        opened.close()
    records = records_in((tmp_path / "journals" / f"{pin}.journal").read_bytes())
    blocks = expected_blocks(data, CUTTING)
    assert [tuple(record) for record in records] == [
        (number, name) for number, name in enumerate(blocks) if name != HOLE
    ]


def test_the_store_says_in_its_format_file_that_it_has_such_images(tmp_path: Path) -> None:
    opened = BlockStore.open(tmp_path, OPTIONS)
    store = bytes.fromhex(opened.id)
    try:
        write_image(opened, [os.urandom(10_000)])
        assert (tmp_path / "format").read_bytes() == encode_format(store), "not before there is one"
        for _ in range(2):
            write_image(opened, [os.urandom(10_000)], cutting=CUTTING)
            marked = encode_format(store, Features(incompat=CONTENT_DEFINED))
            assert (tmp_path / "format").read_bytes() == marked, "so that older programs stop at the door"
    finally:
        opened.close()
    BlockStore.open(tmp_path, OPTIONS).close()


@slow
@given(data=long_segments)
def test_what_is_sent_as_stored_unpacks_to_the_image(store: BlockStore, data: bytes) -> None:
    reader = store.reader([link(write_image(store, [data], cutting=CUTTING))])
    reader.piece = CUTTING.longest
    packed = b"".join(reader.read_stored(start, stop) for start, stop in reader.pieces(0, reader.size))
    reader.close()
    unpacked = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()
    assert unpacked == data
