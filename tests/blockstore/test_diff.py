"""Where two images differ: compared with both images' bytes, block by block."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from blockstore.diff import LEAF, Difference, Extent, add
from blockstore.digest import HOLE
from blockstore.disk import Disk
from blockstore.manifest import open_chain
from blockstore.manifest_builder import ManifestBuilder, path_of
from chunker.cutting import CutKind, Cutting
from tests.blockstore.shelf import BLOCK, STORE, Shelf, name

if TYPE_CHECKING:
    from collections.abc import Sequence

    Link = tuple[Path, bytes]


def extents(image: Sequence[Link], since: Sequence[Link], windows: int = 2, start: int = 0) -> list[Extent]:
    with ExitStack() as stack:
        chains = [open_chain(links) for links in (image, since)]
        for manifest in (*chains[0], *chains[1]):
            stack.callback(manifest.close)
        difference = Difference(*chains)
        found: list[Extent] = []
        while start < difference.size:
            more, start, _ = difference.extents(start, windows)
            for extent in more:
                add(found, extent)
        return found


def by_hand(image: list[bytes], since: list[bytes], size: int, since_size: int, block: int = BLOCK) -> list[Extent]:
    found: list[Extent] = []
    for number, what in enumerate(image):
        begins, length = number * block, min(block, size - number * block)
        theirs = since[number] if number < len(since) else None
        same_length = min(block, since_size - begins) == length
        if (what == theirs and same_length) or (what == theirs == HOLE and begins + length <= since_size):
            continue
        add(found, Extent(begins, length, zero=what == HOLE))
    return found


SIZES = st.integers(0, 3 * 1024 * BLOCK)
EDITS = st.dictionaries(st.integers(0, 3 * 1024), st.sampled_from([HOLE, name(1), name(2), name(3)]), max_size=8)


Steps = list[tuple[int, dict[int, bytes]]]


def grown(shelf: Shelf, steps: Steps, below: list[Link], size: int) -> tuple[list[Link], int]:
    """A chain over `below` whose blocks that may not be inherited are listed."""
    chain = list(below)
    for wanted, edits in steps:
        listed = {number: what for number, what in edits.items() if number * BLOCK < wanted}
        if chain and size and wanted and size != wanted:
            listed.setdefault((min(size, wanted) - 1) // BLOCK, name(4))
        chain = [shelf.write(wanted, listed, chain[0] if chain else None), *chain]
        size = wanted
    return chain, size


@given(
    st.lists(st.tuples(SIZES, EDITS), min_size=1, max_size=2),
    st.lists(st.tuples(SIZES, EDITS), max_size=2),
    st.lists(st.tuples(SIZES, EDITS), max_size=2),
    st.integers(1, 4),
)
def test_images_of_one_block_size_differ_where_their_blocks_do(
    common: Steps,
    mine: Steps,
    theirs: Steps,
    windows: int,
) -> None:
    with TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder))
        base, base_size = grown(shelf, common, [], 0)
        image, size = grown(shelf, mine, base, base_size)
        since, since_size = grown(shelf, theirs, base, base_size)
        expected = by_hand(shelf.blocks(*image), shelf.blocks(*since), size, since_size)
        assert extents(image, since, windows) == expected


def test_leaves_that_both_images_take_from_one_base_are_not_read(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    base = shelf.write(4096 * BLOCK, {n: name(n) for n in range(0, 4096, 2)})
    top = shelf.write(4096 * BLOCK, {1025: name(7)}, base)
    with base[0].open("r+b") as file:
        # The first and the last leaf: whoever reads them is told of damage.
        for at in (130, 128 + 3 * 512 * 36 + 2):
            file.seek(at)
            file.write(b"\xff")
    assert extents([top, base], [base]) == [Extent(1025 * BLOCK, BLOCK, zero=False)]


def test_leaves_of_two_whole_images_with_one_digest_are_not_read(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    one = shelf.write(2048 * BLOCK, {n: name(n) for n in range(2048)})
    two = shelf.write(2048 * BLOCK, {n: name(n if n != 1500 else 9999) for n in range(2048)})
    with one[0].open("r+b") as file:
        file.seek(130)
        file.write(b"\xff")
    assert extents([two], [one]) == [Extent(1500 * BLOCK, BLOCK, zero=False)]


def test_other_block_sizes_differ_in_all_data_and_agree_in_holes(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    small = shelf.write(64 * BLOCK, {0: name(0), 20: name(1)})
    large = shelf.write(64 * BLOCK, {0: name(5)}, block=16 * BLOCK)
    assert extents([large], [small]) == [Extent(0, 16 * BLOCK, zero=False), Extent(16 * BLOCK, 16 * BLOCK, zero=True)]
    assert extents([small], [large]) == [Extent(0, BLOCK, zero=False), Extent(BLOCK, 15 * BLOCK, zero=True),
                                         Extent(20 * BLOCK, BLOCK, zero=False)]  # fmt: skip


def test_one_call_reads_no_more_than_it_was_asked_to_however_far_apart_the_block_sizes_are(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    size = 200 * 1024 * BLOCK
    small = shelf.write(size, {n: name(n) for n in range(0, size // BLOCK, 5000)})
    large = shelf.write(size, {n: name(n) for n in range(0, size // (1024 * BLOCK), 7)}, block=1024 * BLOCK)
    with ExitStack() as stack:
        chains = [open_chain([link]) for link in (large, small)]
        for manifest in (*chains[0], *chains[1]):
            stack.callback(manifest.close)
        difference, start, found = Difference(*chains), 0, list[Extent]()
        calls = 0
        while start < size:
            more, stopped, done = difference.extents(start, 1)
            assert start < stopped <= start + 16 * 1024 * BLOCK
            assert done <= 17 * LEAF
            start, calls = stopped, calls + 1
            for extent in more:
                add(found, extent)
        assert calls == 13
        assert found == Difference(*chains).extents(0, 1 << 40)[0] == extents([large], [small])
    held = {n * 5000 * BLOCK // (1024 * BLOCK) for n in range(-(-size // BLOCK // 5000))}
    by_block = [(name(n) if n % 7 == 0 else HOLE) for n in range(200)]
    expected = list[Extent]()
    for number, what in enumerate(by_block):
        if what != HOLE or number in held:
            add(expected, Extent(number * 1024 * BLOCK, 1024 * BLOCK, zero=what == HOLE))
    assert found == expected


def test_content_defined_images_differ_where_no_block_lies_alike(tmp_path: Path) -> None:
    def write(blocks: list[tuple[int, bytes]]) -> Link:
        builder = ManifestBuilder(tmp_path, STORE, Cutting(CutKind.CONTENT_DEFINED, 16384), None, Disk())
        ends, end = [], 0
        for length, _ in blocks:
            end += length
            ends.append(end)
        builder.add(0, [what for _, what in blocks], frozenset(), ends)
        built = builder.finish(end)
        return path_of(tmp_path, built.name), built.digest

    one = write([(5000, name(0)), (6000, name(1)), (7000, HOLE), (5000, name(3))])
    two = write([(5000, name(0)), (5000, name(9)), (8000, HOLE), (5000, name(3)), (10, name(4))])
    assert extents([two], [one]) == [Extent(5000, 5000, zero=False), Extent(10000, 8000, zero=True),
                                     Extent(23000, 10, zero=False)]  # fmt: skip
    fixed = Shelf(tmp_path).write(23010, {n: name(n) for n in range(6)})
    assert sum(extent.length for extent in extents([fixed], [two])) == 23010


def test_a_page_begins_in_the_middle_of_a_block(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    one, two = shelf.write(4 * BLOCK, {}), shelf.write(4 * BLOCK, {n: name(n) for n in range(4)})
    assert extents([two], [one], start=BLOCK + 5) == [Extent(BLOCK + 5, 3 * BLOCK - 5, zero=False)]


def test_an_image_does_not_differ_from_itself(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    one = shelf.write(1500 * BLOCK + 3, {n: name(n) for n in range(0, 1500, 7)})
    assert extents([one], [one]) == []
