from __future__ import annotations

import hashlib
import itertools
import random
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockstore.digest import HOLE, digest
from blockstore.store import BlockStore, StoreOptions
from tests.kit.images_in_store import link, manifest_blocks, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 4096
SLAB = 16 * 1024
OPTIONS = StoreOptions(
    slab=SLAB,
    slab_budget=1 << 20,
    generation_bytes=1 << 16,
    generation_seconds=0.01,
    pack_full=1 << 18,
    index_map=1 << 30,
)
slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

segments = st.lists(
    st.tuples(
        st.sampled_from(["hole", "random", "same", "text"]),
        st.one_of(st.integers(1, 3 * SLAB), st.sampled_from([BLOCK, SLAB, 2 * SLAB, BLOCK - 1, BLOCK + 1])),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockStore]:
    opened = BlockStore.open(tmp_path_factory.mktemp("data"), OPTIONS)
    yield opened
    opened.close()


def bytes_of(parts: list[tuple[str, int, int]]) -> bytes:
    return b"".join(segment(kind, length, seed) for kind, length, seed in parts)


def segment(kind: str, length: int, seed: int) -> bytes:
    if kind == "hole":
        return bytes(length)
    if kind == "random":
        return random.Random(seed).randbytes(length)
    if kind == "same":
        return bytes([seed + 1]) * length
    return (b"a line of text %d\n" % seed * (length // 16 + 1))[:length]


def split(data: bytes, cuts: list[float]) -> list[bytes]:
    points = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    return [data[start:stop] for start, stop in itertools.pairwise(points)]


@slow
@given(parts=segments, cuts=st.lists(st.floats(0, 1), max_size=6))
def test_any_bytes_in_any_pieces_give_the_same_blocks_and_come_back(
    store: BlockStore, parts: list[tuple[str, int, int]], cuts: list[float]
) -> None:
    data = bytes_of(parts)
    result = write_image(store, split(data, cuts))
    expected = [digest(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    holes = [not any(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    assert manifest_blocks(store, [link(result)]) == [
        HOLE if hole else name for name, hole in zip(expected, holes, strict=True)
    ]
    assert read_image(store, [link(result)]) == data
    assert result.size == len(data)
    assert result.taps == {"sha512": hashlib.sha512(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
    assert result.hole_blocks == sum(holes)
    again = write_image(store, [data])
    assert (again.new_blocks, again.new_bytes) == (0, 0), "a block already held is not written again"
    assert again.manifest.digest == result.manifest.digest, "the same bytes make the same manifest"


@slow
@given(parts=segments, start=st.floats(0, 1), length=st.floats(0, 1))
def test_any_range_of_an_image_reads_right(
    store: BlockStore, parts: list[tuple[str, int, int]], start: float, length: float
) -> None:
    data = bytes_of(parts)
    reader = store.reader([link(write_image(store, [data]))])
    begins = int(start * (len(data) - 1))
    ends = max(begins + 1, begins + int(length * (len(data) - begins)))
    assert b"".join(reader.read(begins, ends)) == data[begins:ends]
    reader.close()


edits = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.floats(0, 1), st.sampled_from(["hole", "random", "same"]), st.integers(1, SLAB)),
        st.tuples(st.just("resize"), st.floats(0, 2), st.just(""), st.integers(-5, 5)),
    ),
    min_size=1,
    max_size=4,
)


@slow
@given(
    first=segments,
    versions=st.lists(edits, min_size=1, max_size=20),
    seed=st.integers(0, 1000),
)
def test_a_chain_of_increments_is_the_file_that_was_edited(
    store: BlockStore, first: list[tuple[str, int, int]], versions: list[list[tuple[str, float, str, int]]], seed: int
) -> None:
    flat = bytearray(bytes_of(first))
    chain = [link(write_image(store, [bytes(flat)]))]
    for number, version in enumerate(versions):
        for what, where, kind, amount in version:
            if what == "resize":
                size = min(max(0, int(len(flat) * where) + amount), 8 * SLAB)
                # A file that is cut and grown again has zeros there, never the old bytes.
                flat = flat[:size] + bytes(max(0, size - len(flat)))
            elif flat:
                at = int(where * (len(flat) - 1))
                new = bytes_of([(kind, amount, (seed + number) % 200)])[: len(flat) - at]
                flat[at : at + len(new)] = new
        result = write_image(store, [bytes(flat)], base=chain)
        chain = [link(result), *chain] if result.manifest.depth else [link(result)]
        assert result.manifest.depth <= 16, "deeper chains are flattened"
        assert read_image(store, chain) == bytes(flat)


def test_a_disk_that_shrinks_and_grows_again_has_zeros_where_old_data_was(store: BlockStore) -> None:
    ten = random.Random(5).randbytes(10 * BLOCK)
    for five in (5 * BLOCK, 5 * BLOCK + 100):
        chain = [link(write_image(store, [ten]))]
        chain = [link(write_image(store, [ten[:five]], base=chain)), *chain]
        grown = ten[:five] + bytes(10 * BLOCK - five)
        top = write_image(store, [grown], base=chain)
        assert top.manifest.depth == 2
        assert read_image(store, [link(top), *chain]) == grown


def test_an_increment_lists_only_what_changed(store: BlockStore) -> None:
    data = bytearray(random.Random(6).randbytes(100 * BLOCK))
    base = [link(write_image(store, [bytes(data)]))]
    data[50 * BLOCK] ^= 1
    data[60 * BLOCK : 61 * BLOCK] = bytes(BLOCK)
    result = write_image(store, [bytes(data)], base=base)
    assert (result.new_blocks, result.hole_blocks, result.inherited_blocks) == (1, 1, 98)
    assert read_image(store, [link(result), *base]) == bytes(data)


def test_a_base_of_another_block_size_makes_a_whole_image(store: BlockStore) -> None:
    data = random.Random(7).randbytes(20 * BLOCK)
    base = [link(write_image(store, [data]))]
    result = write_image(store, [data], base=base, block_size=2 * BLOCK)
    assert result.manifest.depth == 0
    assert read_image(store, [link(result)]) == data


def test_zstd_of_a_sealed_pack_gives_the_bytes_of_its_blocks(tmp_path: Path) -> None:
    data = bytes_of([("random", 5 * BLOCK, 1), ("hole", BLOCK * 3, 0), ("text", 4 * BLOCK + 17, 2)])
    store = BlockStore.open(tmp_path / "data", OPTIONS)
    write_image(store, [data])
    store.close()
    (pack,) = (tmp_path / "data" / "packs").rglob("*.zst")
    plain = subprocess.run(["zstd", "-dc", pack], capture_output=True, check=True).stdout
    assert plain == data[: 5 * BLOCK] + data[8 * BLOCK :]
