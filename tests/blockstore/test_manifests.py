from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore import manifest_format
from blockstore.checksum import xxh3
from blockstore.digest import HOLE
from blockstore.disk import Disk
from blockstore.errors import BlockstoreError, Damaged, DataRefused, Missing, StoreUnavailable
from blockstore.features import Features
from blockstore.manifest import ManifestFile, second_of
from blockstore.manifest_builder import ManifestBuilder, path_of
from blockstore.manifest_format import (
    DIRECTORY_ROW,
    HEADER_SIZE,
    LEAF_BLOCKS,
    MOST_BLOCKS,
    Header,
)
from blockstore.manifest_leaf import LEAF_ROW
from chunker.cutting import CutKind, Cutting
from tests.blockstore.shelf import BASE_HEADER, BLOCK, STORE, Shelf, forge, name
from tests.kit.open_files import none_left_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CUTTING = Cutting(CutKind.FIXED, BLOCK)
u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


headers = st.builds(
    Header,
    store=st.binary(min_size=16, max_size=16),
    block_size=st.sampled_from([1 << n for n in range(12, 23)]),
    size=u64,
    base=st.binary(min_size=32, max_size=32),
    depth=u32,
    entries=u64,
    holes=u64,
    leaves=u32,
    directory=u64,
    features=st.builds(Features, u32, u32),
)


@given(header=headers)
def test_a_header_comes_back(header: Header) -> None:
    encoded = manifest_format.encode_header(header)
    assert len(encoded) == HEADER_SIZE
    assert manifest_format.decode_header(encoded, "a manifest") == header


@given(at=st.integers(0, HEADER_SIZE * 8 - 1))
def test_a_header_with_any_flipped_bit_is_damaged(at: int) -> None:
    bad = bytearray(manifest_format.encode_header(BASE_HEADER))
    bad[at // 8] ^= 1 << at % 8
    with pytest.raises(Damaged, match="the manifest's header is damaged, or the file was never finished"):
        manifest_format.decode_header(bytes(bad), "a manifest")


def test_a_newer_manifest_is_refused() -> None:
    encoded = manifest_format.encode_header(replace(BASE_HEADER, features=Features(incompat=2)))
    with pytest.raises(DataRefused, match="a manifest was written in a newer format"):
        manifest_format.decode_header(encoded, "a manifest")


@pytest.mark.parametrize("changes", [{"kind": 3}, {"scheme": 1}, {"block_size": 0}, {"block_size": 3 * BLOCK}])
def test_a_kind_scheme_or_block_size_that_is_not_known_is_refused(changes: dict[str, int]) -> None:
    encoded = manifest_format.encode_header(replace(BASE_HEADER, **changes))  # type: ignore[arg-type] # integers all
    with pytest.raises(BlockstoreError, match="can't be read here"):
        manifest_format.decode_header(encoded, "a manifest")


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_the_number_of_blocks_counts_the_odd_tail(size: int) -> None:
    assert replace(BASE_HEADER, size=size).blocks == len(range(0, size, BLOCK))


# Whole images.


@given(numbers=st.sets(st.one_of(st.integers(0, 40), st.integers(1000, 1050), st.integers(0, 5000)), max_size=40))
def test_a_whole_image_gives_its_blocks_and_holes_between_them(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int]
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    size = 5001 * BLOCK - 17
    image = shelf.write(size, {number: name(number) for number in numbers})
    assert shelf.blocks(image) == [name(number) if number in numbers else HOLE for number in range(5001)]


def test_an_empty_image_has_no_leaves(shelf: Shelf) -> None:
    path, its_digest = shelf.write(0, {})
    assert path.stat().st_size == HEADER_SIZE
    manifest = ManifestFile(path, its_digest)
    assert manifest.keys() == []
    manifest.close()
    assert shelf.blocks((path, its_digest)) == []


def test_holes_of_a_whole_image_are_not_listed(shelf: Shelf) -> None:
    image = shelf.write(3 * BLOCK, {0: name(0), 1: HOLE, 2: name(2)})
    manifest = ManifestFile(*image)
    assert (manifest.header.entries, manifest.header.holes) == (2, 0)
    manifest.close()


def test_one_changed_block_changes_one_leaf(shelf: Shelf) -> None:
    listed = {number: name(number) for number in range(0, 4 * LEAF_BLOCKS, 7)}
    size = 4 * LEAF_BLOCKS * BLOCK
    one, two = ManifestFile(*shelf.write(size, listed)), ManifestFile(*shelf.write(size, listed | {1400: name(1)}))
    differing = [key for key in one.keys() if one.leaf(key).tobytes() != two.leaf(key).tobytes()]  # type: ignore[union-attr] # noqa: SIM118 - not a dict
    assert differing == [1]
    one.close()
    two.close()


def test_the_builder_tells_which_blocks_it_listed(shelf: Shelf) -> None:
    base = ManifestFile(*shelf.write(4 * BLOCK, {n: name(n) for n in range(4)}))
    builder = ManifestBuilder(shelf.folder, STORE, CUTTING, base, Disk())
    listed = builder.add(0, [name(0), HOLE, name(9), name(3), HOLE, name(5)], frozenset({0, 3}))
    assert listed == [(2, name(9)), (5, name(5))]
    built = builder.finish(6 * BLOCK)
    manifest = ManifestFile(path_of(shelf.folder, built.name), built.digest)
    assert (manifest.header.entries, manifest.header.holes) == (3, 1), "a hole is listed where the base has bytes"
    manifest.close()
    base.close()


def test_an_abandoned_manifest_leaves_no_file(shelf: Shelf) -> None:
    builder = ManifestBuilder(shelf.folder, STORE, CUTTING, None, Disk())
    builder.add(0, [name(0)], frozenset())
    builder.abandon()
    builder.abandon()
    assert [path for path in shelf.folder.rglob("*") if path.is_file()] == []


def test_an_image_with_more_blocks_than_numbers_is_refused(shelf: Shelf) -> None:
    builder = ManifestBuilder(shelf.folder, STORE, CUTTING, None, Disk())
    with pytest.raises(StoreUnavailable, match="choose a larger block size"):
        builder.add(MOST_BLOCKS - 1, [name(0), name(1)], frozenset())
    builder.abandon()


# Files that are not what they should be.


def test_a_manifest_that_is_gone_is_missing(shelf: Shelf) -> None:
    with pytest.raises(Missing, match="is gone"):
        ManifestFile(shelf.folder / "none.manifest", bytes(32))


def test_a_manifest_that_was_never_finished_is_damaged(shelf: Shelf) -> None:
    builder = ManifestBuilder(shelf.folder, STORE, CUTTING, None, Disk())
    builder.add(0, [name(0), *[name(n) for n in range(1, 2000)]], frozenset())
    (path,) = shelf.folder.rglob("*.manifest")
    with pytest.raises(Damaged, match="never finished"):
        ManifestFile(path, bytes(32))
    builder.abandon()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_manifest_of_another_length_is_damaged(shelf: Shelf, change: int) -> None:
    path, its_digest = shelf.write(BLOCK, {0: name(0)})
    data = path.read_bytes()
    for copy in (path, second_of(path)):
        copy.write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(Damaged, match="where its directory ends at"):
        ManifestFile(path, its_digest)


@pytest.mark.parametrize(
    "leaves",
    [
        pytest.param([(0, [])], id="an empty leaf"),
        pytest.param([(0, [(1, name(1)), (0, name(0))])], id="not ascending"),
        pytest.param([(0, [(1, name(1)), (1, name(0))])], id="a block twice"),
        pytest.param([(0, [(3, name(3))])], id="a block behind the image's end"),
        pytest.param([(0, [(LEAF_BLOCKS, name(3))])], id="a block of the next leaf"),
        pytest.param([(1, [(0, name(3))])], id="a block of the leaf before"),
    ],
)
def test_a_leaf_that_lists_what_it_may_not_is_damaged(
    tmp_path: Path, leaves: list[tuple[int, list[tuple[int, bytes]]]]
) -> None:
    manifest = ManifestFile(*forge(tmp_path / "m", replace(BASE_HEADER, size=3 * BLOCK), leaves))
    with pytest.raises(Damaged, match="lists blocks that it may not"):
        manifest.leaf(leaves[0][0])
    manifest.close()


def test_a_directory_that_does_not_ascend_is_damaged(tmp_path: Path) -> None:
    leaf = [(0, name(0))]
    forged = forge(tmp_path / "m", replace(BASE_HEADER, size=3 * BLOCK), [(0, leaf), (0, leaf)])
    with pytest.raises(Damaged, match="directory is damaged"):
        ManifestFile(*forged)


def test_rows_have_no_padding() -> None:
    assert LEAF_ROW.itemsize == 36
    assert DIRECTORY_ROW.itemsize == 56


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open() -> Iterator[None]:
    with none_left_open():
        yield


def test_a_sum_does_not_replace_the_digest(shelf: Shelf) -> None:
    path, its_digest = shelf.write(BLOCK, {0: name(0)})
    data = path.read_bytes()
    body = data[:48] + b"\x01" + data[49 : HEADER_SIZE - 8]
    path.write_bytes(body + xxh3(body).to_bytes(8, "little") + data[HEADER_SIZE:])
    second_of(path).unlink()
    with pytest.raises(Damaged, match="its digest differs"):
        ManifestFile(path, its_digest)
