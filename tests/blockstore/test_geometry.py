from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore.digest import HOLE
from blockstore.errors import Damaged, GeometryBroken
from blockstore.manifest import ManifestFile, open_chain
from blockstore.resolve import Resolver
from tests.blockstore.shelf import BASE_HEADER, BLOCK, Shelf, forge, name

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_an_increment_overrides_hides_and_inherits(shelf: Shelf) -> None:
    base = shelf.write(5 * BLOCK, {n: name(n) for n in range(4)})
    top = shelf.write(5 * BLOCK, {1: name(11), 2: HOLE}, base)
    assert shelf.blocks(top, base) == [name(0), name(11), HOLE, name(3), HOLE]


def test_threads_that_come_to_a_window_together_have_it_resolved_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = shelf.write(5 * BLOCK, {n: name(n) for n in range(4)})
    top = shelf.write(5 * BLOCK, {1: name(11)}, base)
    reads: list[Path] = []
    real = ManifestFile.leaf

    def leaf(manifest: ManifestFile, key: int) -> NDArray[np.void] | None:
        reads.append(manifest.path)
        time.sleep(0.05)
        return real(manifest, key)

    monkeypatch.setattr(ManifestFile, "leaf", leaf)
    chain = open_chain([top, base])
    resolver = Resolver(chain)
    with ThreadPoolExecutor(4) as pool:
        found = [one.result() for one in [pool.submit(resolver.digests, 0, 5) for _ in range(4)]]
    assert found == [[name(0), name(11), name(2), name(3), HOLE]] * 4
    assert reads == [top[0], base[0]]
    for manifest in chain:
        manifest.close()


def test_what_begins_behind_the_base_is_a_hole(shelf: Shelf) -> None:
    base = shelf.write(2 * BLOCK, {0: name(0), 1: name(1)})
    top = shelf.write(2000 * BLOCK, {1500: name(7)}, base)
    assert shelf.blocks(top, base) == [name(0), name(1), *[HOLE] * 1498, name(7), *[HOLE] * 499]


def test_a_disk_that_shrank_and_grew_again_does_not_bring_old_blocks_back(shelf: Shelf) -> None:
    ten = shelf.write(10 * BLOCK, {n: name(n) for n in range(10)})
    five = shelf.write(5 * BLOCK, {}, ten)
    again = shelf.write(10 * BLOCK, {}, five)
    assert shelf.blocks(again, five, ten) == [*[name(n) for n in range(5)], *[HOLE] * 5]


@pytest.mark.parametrize(
    ("base_size", "size"),
    [(2 * BLOCK + 5, 3 * BLOCK), (2 * BLOCK + 5, 2 * BLOCK + 6), (3 * BLOCK, 2 * BLOCK + 5), (5, 4)],
)
def test_a_block_of_another_length_may_not_be_inherited(shelf: Shelf, base_size: int, size: int) -> None:
    last = (min(base_size, size) - 1) // BLOCK
    base = shelf.write(base_size, {n: name(n) for n in range(last + 1)})
    broken = shelf.write(size, {}, base)
    with pytest.raises(GeometryBroken, match=f"inherits block {last}, which has another length in its base"):
        shelf.blocks(broken, base)
    right = shelf.write(size, {last: name(99)}, base)
    assert shelf.blocks(right, base)[last] == name(99)


def test_an_odd_tail_of_the_same_length_is_inherited(shelf: Shelf) -> None:
    base = shelf.write(2 * BLOCK + 5, {n: name(n) for n in range(3)})
    top = shelf.write(2 * BLOCK + 5, {}, base)
    assert shelf.blocks(top, base) == [name(0), name(1), name(2)]


def test_a_base_of_another_block_size_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    base = shelf.write(4 * BLOCK, {0: name(0)}, block=2 * BLOCK)
    forged = forge(tmp_path / "m", replace(BASE_HEADER, size=4 * BLOCK, base=base[1], depth=1), [])
    with pytest.raises(GeometryBroken, match="differ in kind, block size or digest scheme"):
        shelf.blocks(forged, base)


def test_a_chain_whose_links_do_not_fit_is_refused(shelf: Shelf) -> None:
    base, other = shelf.write(BLOCK, {0: name(0)}), shelf.write(BLOCK, {0: name(1)})
    top = shelf.write(BLOCK, {}, base)
    with pytest.raises(Damaged, match="has another base than"):
        shelf.blocks(top, other)
    with pytest.raises(Damaged, match="has a base that the catalog does not name"):
        shelf.blocks(top)
    with pytest.raises(Damaged, match="its digest differs"):
        shelf.blocks(top, (base[0], other[1]))


def test_the_depth_counts_the_manifests_below(shelf: Shelf) -> None:
    chain = [shelf.write(BLOCK, {0: name(0)})]
    for depth in range(1, 5):
        chain.insert(0, shelf.write(BLOCK, {}, chain[0]))
        manifest = ManifestFile(*chain[0])
        assert manifest.header.depth == depth
        manifest.close()
    assert shelf.blocks(*chain) == [name(0)]


# A model: an image is a list of (length, digest), an increment an edit of it.
images = st.dictionaries(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 9)), max_size=8)


@given(
    sizes=st.lists(st.integers(0, 31 * BLOCK), min_size=1, max_size=5),
    edits=st.lists(images, min_size=5, max_size=5),
)
def test_a_chain_by_the_rules_is_the_image_that_was_edited(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], edits: list[dict[int, int | None]]
) -> None:
    block = BLOCK
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    chain: list[tuple[Path, bytes]] = []
    image: list[tuple[int, bytes]] = []
    for size, edit in zip(sizes, edits, strict=False):
        lengths = [min(block, size - at) for at in range(0, size, block)]
        new = []
        for number, length in enumerate(lengths):
            kept = image[number][1] if number < len(image) and image[number][0] == length else HOLE
            what = edit.get(number, -1)
            new.append((length, kept if what == -1 else HOLE if what is None else name(what)))
        changed = {
            number: what
            for number, (length, what) in enumerate(new)
            if number >= len(image) or image[number] != (length, what)
        }
        chain.insert(0, shelf.write(size, changed, chain[0] if chain else None, block))
        image = new
        assert shelf.blocks(*chain) == [what for _, what in image]
