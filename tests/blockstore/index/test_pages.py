from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Damaged
from blockstore.index import pages
from blockstore.index.lmdb_env import LAYOUT
from blockstore.index.lmdb_index import LmdbIndex
from tests.contracts.block_index import fill

if TYPE_CHECKING:
    from pathlib import Path

MAP = 1 << 26


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An index that has grown, shrunk, and grown again: free pages, marks, several packs."""
    index = LmdbIndex(tmp_path, map_size=MAP)
    _, names = fill(index, 3000)
    index.condemn_many(names[:2000], b"run")
    index.forget_many(names[:1500], b"run")
    fill(index, 2000, seed=2)
    index.close()
    return tmp_path / "data.mdb"


def flipped(file: Path, at: int, bit: int) -> bytes:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    return bytes(data)


def test_a_right_file_passes_alone_and_while_it_changes(file: Path) -> None:
    pages.check(file, LAYOUT)
    index = LmdbIndex(file.parent, map_size=MAP)
    for seed in range(3, 6):
        index.check()
        fill(index, 500, seed=seed)
    index.check()
    index.close()
    pages.check(file, LAYOUT)


def test_a_new_file_passes(tmp_path: Path) -> None:
    LmdbIndex(tmp_path, map_size=MAP).close()
    pages.check(tmp_path / "data.mdb", LAYOUT)


@pytest.mark.parametrize(
    "at",
    [16, 20, 40, 44, 46, 48, 72, 80, 92, 94, 128, 139, 143, 144, 150],
    ids=lambda at: f"byte {at}",
)
def test_a_wrong_meta_page_is_noticed(file: Path, at: int) -> None:
    """Magic, version, page size, flags, depths, counts, roots, last page, transaction: of the newer one of the two."""
    data = file.read_bytes()
    newer = max((0, 1), key=lambda page: int.from_bytes(data[page * 4096 + 144 : page * 4096 + 152], "little"))
    file.write_bytes(flipped(file, newer * 4096 + at, 3))
    with pytest.raises(Damaged):
        pages.check(file, LAYOUT)


def test_any_page_that_is_used_and_gone_is_noticed(file: Path) -> None:
    """A page of zeros, a page from elsewhere: whichever it hits, either nobody needs it or it is noticed."""
    whole = file.read_bytes()
    noticed = 0
    for page in range(2, len(whole) // 4096):
        for other in (bytes(4096), whole[2 * 4096 : 3 * 4096]):
            file.write_bytes(whole[: page * 4096] + other + whole[(page + 1) * 4096 :])
            try:
                pages.check(file, LAYOUT)
            except Damaged:
                noticed += 1
    assert noticed > 50


def test_a_node_header_that_is_wrong_is_noticed(file: Path) -> None:
    """Flips in the first bytes of pages and in node offsets: structure, which must never pass."""
    whole = file.read_bytes()
    rng = random.Random(4)
    passed = 0
    for _ in range(200):
        page = rng.randrange(2, len(whole) // 4096)
        at = page * 4096 + rng.choice([0, 10, 12, 13, 14, 15, 16, 18, 20])
        file.write_bytes(flipped(file, at, rng.randrange(8)))
        try:
            pages.check(file, LAYOUT)
            passed += 1
        except Damaged:
            pass
    free = sum(whole[at + 10] not in {1, 2} for at in range(8192, len(whole), 4096))
    assert passed < 200 * (free + 40) / (len(whole) / 4096), "only pages that are free may pass"
