"""Manifests of content-defined images: what a builder writes, what readers find, what they refuse."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore import manifest_format, manifest_leaf
from blockstore.digest import HOLE, digest
from blockstore.disk import Disk
from blockstore.errors import Damaged, GeometryBroken
from blockstore.features import CONTENT_DEFINED, Features
from blockstore.manifest import ManifestFile, open_chain
from blockstore.manifest_builder import ManifestBuilder, path_of
from blockstore.manifest_format import DIRECTORY_ROW, HEADER_SIZE, KIND_CONTENT_DEFINED, LEAF_BLOCKS, NO_BASE, Header
from blockstore.resolve import Resolver
from chunker.cutting import USUAL, CutKind, Cutting
from tests.blockstore.shelf import STORE, Shelf, name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CUTTING = Cutting(CutKind.CONTENT_DEFINED, 16 * 1024)
LONGEST = 64 * 1024
HEADER = Header(
    store=STORE, block_size=CUTTING.size, size=0, base=NO_BASE, depth=0, entries=0, holes=0, leaves=0, directory=0,
    kind=KIND_CONTENT_DEFINED, algorithm=1, shortest=4096, longest=LONGEST, features=Features(incompat=CONTENT_DEFINED),
)  # fmt: skip
Rows = list[tuple[int, int, bytes]]


def spans(manifest: ManifestFile, start: int, stop: int) -> list[tuple[int, int, bytes]]:
    return [block[:3] for block in Resolver([manifest]).blocks(start, stop)]


def write(folder: Path, lengths: Sequence[int], names: Sequence[bytes]) -> tuple[Path, bytes]:
    """An image of blocks with these lengths, added a few at a time as an upload does."""
    builder = ManifestBuilder(folder, STORE, CUTTING, None, Disk())
    for first in range(0, len(lengths), 700):
        ends = np.cumsum(lengths[first : first + 700]).tolist()
        builder.add(first, names[first : first + 700], frozenset(), ends)
    built = builder.finish(sum(lengths))
    return path_of(folder, built.name), built.digest


def forge(path: Path, leaves: Sequence[tuple[int, Rows]], header: Header = HEADER) -> tuple[Path, bytes]:
    """A manifest whose digests are right and whose contents may be anything; counts are right unless given."""
    body = b""
    directory = np.zeros(len(leaves), dtype=DIRECTORY_ROW)
    for at, (key, rows) in enumerate(leaves):
        leaf = manifest_leaf.encode_content_leaf(*zip(*rows, strict=True)) if rows else b""
        directory[at] = (key, HEADER_SIZE + len(body), len(rows), 0, np.frombuffer(digest(leaf), dtype=np.uint8))
        body += leaf
    entries = header.entries or sum(len(rows) for _, rows in leaves)
    head = manifest_format.encode_header(
        replace(header, leaves=len(leaves), entries=entries, directory=HEADER_SIZE + len(body))
    )
    path.write_bytes(head + body + directory.tobytes())
    return path, manifest_format.manifest_digest(head, directory.tobytes())


def some_blocks(number: int) -> tuple[list[int], list[bytes]]:
    lengths = [4096 + (at * 7919) % (LONGEST - 4096) for at in range(number)]
    return lengths, [HOLE if at % 11 == 3 else name(at) for at in range(number)]


@given(number=st.sampled_from([1, 5, 1023, 1024, 1025, 2048, 2500]), at=st.floats(0, 1), part=st.floats(0, 1))
def test_any_range_gives_exactly_the_blocks_that_have_a_byte_of_it(
    tmp_path_factory: pytest.TempPathFactory, number: int, at: float, part: float
) -> None:
    lengths, names = some_blocks(number)
    begins = [0, *np.cumsum(lengths).tolist()]
    size = begins.pop()
    start = min(int(at * size), size - 1)
    stop = start + 1 + int(part * (size - 1 - start))
    with closing(ManifestFile(*write(tmp_path_factory.mktemp("m"), lengths, names))) as manifest:
        found = spans(manifest, start, stop)
    whole = list(zip(begins, lengths, names, strict=True))
    assert found == [(b, length, what) for b, length, what in whole if b < stop and b + length > start]


@given(size=st.integers(1, 3000 * 4096), at=st.floats(0, 1), part=st.floats(0, 1))
def test_any_range_of_a_fixed_image_gives_exactly_the_blocks_that_have_a_byte_of_it(
    tmp_path_factory: pytest.TempPathFactory, size: int, at: float, part: float
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    numbers = range(0, -(-size // 4096), 3)
    start = min(int(at * size), size - 1)
    stop = start + 1 + int(part * (size - 1 - start))
    with closing(ManifestFile(*shelf.write(size, {n: name(n) for n in numbers}))) as manifest:
        found = spans(manifest, start, stop)
    assert found == [
        (begins, min(4096, size - begins), HOLE if begins // 4096 % 3 else name(begins // 4096))
        for begins in range(start // 4096 * 4096, stop, 4096)
    ]


def test_an_empty_range_has_no_block(tmp_path: Path) -> None:
    with closing(ManifestFile(*write(tmp_path, [5], [name(1)]))) as manifest:
        assert spans(manifest, 3, 3) == []


def test_an_empty_image_has_no_leaf(tmp_path: Path) -> None:
    with closing(ManifestFile(*write(tmp_path, [], []))) as manifest:
        assert (manifest.header.leaves, manifest.header.blocks, manifest.keys()) == (0, 0, [])
        assert spans(manifest, 0, 0) == []


def test_the_header_says_how_it_was_cut(tmp_path: Path) -> None:
    lengths, names = some_blocks(2500)
    with closing(ManifestFile(*write(tmp_path, lengths, names))) as manifest:
        header = manifest.header
        assert (header.cutting, header.algorithm, header.shortest, header.longest) == (CUTTING, 1, 4096, LONGEST)
        assert header.features == Features(incompat=CONTENT_DEFINED)
        assert (header.blocks, header.entries, header.holes) == (2500, 2500, names.count(HOLE))
        assert header.longest_block == LONGEST
        assert manifest.keys() == [sum(lengths[:at]) for at in (0, 1024, 2048)], "a leaf's key is its first offset"


def test_the_digests_of_a_manifest_come_leaf_by_leaf_without_holes(tmp_path: Path) -> None:
    lengths, names = some_blocks(2500)
    with closing(ManifestFile(*write(tmp_path, lengths, names))) as manifest:
        leaves = [[row.tobytes() for row in leaf] for leaf in manifest.digests()]
    assert len(leaves) == 3
    assert list(itertools.chain(*leaves)) == [what for what in names if what != HOLE]


def test_the_digests_of_an_increment_are_its_own(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    base = shelf.write(3000 * 4096, {n: name(n) for n in range(3000)})
    top = shelf.write(3000 * 4096, {1: HOLE, 2: name(9), 2500: name(10)}, base)
    with closing(ManifestFile(*top)) as manifest:
        assert [row.tobytes() for leaf in manifest.digests() for row in leaf] == [name(9), name(10)]


def test_the_builder_tells_which_data_blocks_it_listed(tmp_path: Path) -> None:
    builder = ManifestBuilder(tmp_path, STORE, CUTTING, None, Disk())
    assert builder.add(0, [name(0), HOLE], frozenset(), [10, 30]) == [(0, name(0))]
    assert builder.add(2, [name(2)], frozenset(), [5]) == [(2, name(2))]
    built = builder.finish(35)
    assert (built.depth, built.base) == (0, None)
    with closing(ManifestFile(path_of(tmp_path, built.name), built.digest)) as manifest:
        assert spans(manifest, 0, 35) == [(0, 10, name(0)), (10, 20, HOLE), (30, 5, name(2))]


# Files that are not what they should be.

FULL: Rows = [(at * 10, 10, name(at)) for at in range(LEAF_BLOCKS)]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(0, 10, name(0)), (11, 9, name(1))], id="a gap"),
        pytest.param([(0, 10, name(0)), (9, 11, name(1))], id="an overlap"),
        pytest.param([(0, 10, name(0)), (10, 9, name(1))], id="ends before the image"),
        pytest.param([(0, 10, name(0)), (10, 11, name(1))], id="ends behind the image"),
        pytest.param([(0, 10, name(0)), (10, 0, name(1)), (10, 10, name(1))], id="an empty block"),
        pytest.param([(1, 19, name(0))], id="begins behind its key"),
        pytest.param([(10, 10, name(1)), (0, 10, name(0))], id="not ascending"),
    ],
)
def test_blocks_that_do_not_lie_one_right_after_another_are_damage(tmp_path: Path, rows: Rows) -> None:
    forged = forge(tmp_path / "m", [(0, rows)], replace(HEADER, size=20))
    with closing(ManifestFile(*forged)) as manifest, pytest.raises(Damaged, match="do not lie one right after another"):
        spans(manifest, 0, 20)


def test_a_block_longer_than_the_longest_is_damage(tmp_path: Path) -> None:
    forged = forge(tmp_path / "m", [(0, [(0, LONGEST + 1, name(0))])], replace(HEADER, size=LONGEST + 1))
    with closing(ManifestFile(*forged)) as manifest, pytest.raises(Damaged, match="do not lie one right after another"):
        manifest.leaf(0)


def test_a_leaf_must_reach_to_the_next_ones_key(tmp_path: Path) -> None:
    size = LEAF_BLOCKS * 10 + 20
    forged = forge(
        tmp_path / "m", [(0, FULL), (LEAF_BLOCKS * 10 + 1, [(LEAF_BLOCKS * 10 + 1, 19, name(1))])],
        replace(HEADER, size=size),
    )  # fmt: skip
    with closing(ManifestFile(*forged)) as manifest:
        with pytest.raises(Damaged, match="do not lie one right after another"):
            manifest.leaf_at(0)
        assert len(manifest.leaf_at(1)) == 1


@pytest.mark.parametrize(
    ("leaves", "changes"),
    [
        pytest.param([], {"size": 10}, id="no leaf for an image that is not empty"),
        pytest.param([(5, [(5, 5, name(0))])], {"size": 10}, id="it begins behind 0"),
        pytest.param([(0, FULL[:9]), (90, [(90, 10, name(0))])], {"size": 100}, id="a leaf in the middle is not full"),
        pytest.param([(0, FULL), (10240, [])], {"size": 10240}, id="an empty leaf"),
        pytest.param([(0, [*FULL, (10240, 10, name(0))])], {"size": 10250}, id="a leaf with too many rows"),
        pytest.param([(0, FULL[:1])], {"size": 10, "entries": 2}, id="another number of rows"),
    ],
)
def test_a_directory_that_does_not_list_the_whole_image_is_damage(
    tmp_path: Path, leaves: list[tuple[int, Rows]], changes: dict[str, int]
) -> None:
    with pytest.raises(Damaged, match="the directory does not list the whole image"):
        ManifestFile(*forge(tmp_path / "m", leaves, replace(HEADER, **changes)))  # type: ignore[arg-type] # integers all


@pytest.mark.parametrize("changes", [{"base": digest(b"x")}, {"depth": 1}])
def test_a_content_defined_image_with_a_base_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    forged = forge(tmp_path / "m", [(0, [(0, 10, name(0))])], replace(HEADER, size=10, **changes))  # type: ignore[arg-type] # either field
    with pytest.raises(GeometryBroken, match="such an image is always whole"):
        ManifestFile(*forged)


def test_a_content_defined_image_is_nobodys_base(tmp_path: Path) -> None:
    base = write(tmp_path, [10], [name(0)])
    below = ManifestFile(*base)
    with closing(below):
        builder = ManifestBuilder(tmp_path, STORE, USUAL, below, Disk())
        built = builder.finish(10)
    with pytest.raises(GeometryBroken, match="differ in kind, block size or digest scheme"):
        open_chain([(path_of(tmp_path, built.name), built.digest), base])


@pytest.mark.parametrize("longest", [0, 4097 * 1024])
def test_blocks_that_no_pack_can_hold_are_refused(tmp_path: Path, longest: int) -> None:
    with pytest.raises(Damaged, match="which can't be"):
        ManifestFile(*forge(tmp_path / "m", [], replace(HEADER, longest=longest)))


def test_manifests_of_an_algorithm_that_is_not_known_here_are_read(tmp_path: Path) -> None:
    forged = forge(tmp_path / "m", [(0, [(0, 10, name(0))])], replace(HEADER, size=10, algorithm=77))
    with closing(ManifestFile(*forged)) as manifest:
        assert spans(manifest, 2, 3) == [(0, 10, name(0))]


def test_rows_have_no_padding() -> None:
    assert manifest_leaf.CONTENT_ROW.itemsize == 44
