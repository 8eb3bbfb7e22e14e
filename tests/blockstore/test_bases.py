"""What an increment takes from its base, by the figures; and a base that cannot be read."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from blockstore.manifest_copies import copies_of
from blockstore.names import new_name
from blockstore.store import BlockStore, StoreOptions
from chunker.cutting import Cutting
from tests.kit.images_in_store import acquire, link, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.manifest_builder import BuiltManifest

BLOCK = 4096
OPTIONS = StoreOptions(slab=64 * 1024, slab_budget=1 << 20, generation_seconds=0.1, index_map=1 << 30, threads=2)
DATA = random.Random(3).randbytes(40 * BLOCK) + bytes(9 * BLOCK) + b"tail"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    opened = BlockStore.open(tmp_path, OPTIONS)
    yield opened
    opened.close()


def test_bytes_listed_are_those_of_data_that_is_not_the_bases(store: BlockStore) -> None:
    whole = write_image(store, [DATA])
    assert whole.manifest.listed == whole.changed_bytes == 40 * BLOCK + 4
    base = [link(whole)]
    for new, listed in (
        (DATA, 0),
        (b"x" + DATA[1:], BLOCK),
        (DATA[:-4] + b"TAIL", 4),
        (DATA + b"longer", 10),
        (DATA[: 3 * BLOCK + 7], 7),
        (DATA[: 3 * BLOCK], 0),
        (bytes(len(DATA)), 0),
        (b"", 0),
    ):
        result = write_image(store, [new], base=base)
        assert (result.manifest.base, result.manifest.listed, result.changed_bytes) == (base[0][0], listed, listed)
        assert read_image(store, [link(result), *base]) == new
    assert write_image(store, [DATA], cutting=Cutting.parse("content-defined")).manifest.listed <= len(DATA)


def test_at_the_end_of_a_deep_chain_all_is_listed_and_what_changed_is_still_known(store: BlockStore) -> None:
    chain, data = [link(write_image(store, [DATA]))], bytearray(DATA)
    for number in range(17):
        data[number * BLOCK] ^= 1
        result = write_image(store, [bytes(data)], base=chain)
        assert result.changed_bytes == BLOCK
        chain = [link(result), *chain]
    assert (result.manifest.base, result.manifest.depth) == (None, 0)
    assert result.manifest.listed == 40 * BLOCK + 4
    assert read_image(store, chain[:1]) == bytes(data)


@pytest.mark.parametrize("what", ["gone", "header", "leaf"])
def test_a_base_that_cannot_be_read_costs_space_and_nothing_else(store: BlockStore, tmp_path: Path, what: str) -> None:
    base = [link(write_image(store, [DATA]))]
    (path,) = (tmp_path / "manifests").glob("*/*.manifest")
    for copy in copies_of(path):
        if what == "gone":
            copy.unlink()
        else:
            kept = bytearray(copy.read_bytes())
            kept[20 if what == "header" else 300] ^= 1
            copy.write_bytes(kept)
    result = write_image(store, [DATA], base=base)
    assert (result.manifest.base is None) == (what != "leaf")
    assert result.changed_bytes == 40 * BLOCK + 4
    assert read_image(store, [link(result), *base] if what == "leaf" else [link(result)]) == DATA


def test_an_upload_given_up_while_it_is_flattened_leaves_no_manifest(store: BlockStore, tmp_path: Path) -> None:
    chain = [link(write_image(store, [DATA]))]
    for _ in range(16):
        chain = [link(write_image(store, [DATA], base=chain)), *chain]
    before = set((tmp_path / "manifests").glob("*/*"))
    cutting = Cutting.parse("fixed:4KiB")
    share = store.slabs.admit(store.slab_size(cutting))
    assert share is not None
    writer = store.writer(new_name().hex(), share, cutting=cutting, base=chain)
    flatten, given_up = writer._flatten, []
    assert flatten is not None

    def and_give_up(built: BuiltManifest) -> BuiltManifest:
        flat = flatten(built)
        given_up.append(writer.abort())
        return flat

    writer._flatten = and_give_up
    writer.submit(acquire(store.slabs, writer), 0, last=True)
    writer.finish().result(30)
    given_up[0].result(30)
    assert set((tmp_path / "manifests").glob("*/*")) == before
