from __future__ import annotations

import mmap
import os
from itertools import pairwise
from typing import TYPE_CHECKING

from bench import count
from bench.big_index import big_data, drop, index_file, mappers, resident, warm
from bench.images import MIB, compressible_image
from bench.in_process import Store, copied
from bench.show.bound.cold_index import next_version
from blockstore.index.lmdb_index import LmdbIndex

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 5000


def test_the_rows_are_as_the_index_reads_them_random_and_made_once(tmp_path: Path) -> None:
    data = big_data(tmp_path, ROWS)
    made = index_file(data).stat().st_mtime_ns
    assert index_file(big_data(tmp_path, ROWS)).stat().st_mtime_ns == made
    index = LmdbIndex(data / "index")
    rows = list(index.scan())
    index.close()
    assert len(rows) == ROWS
    assert {len(digest) for digest, _ in rows} == {32}
    assert len({digest[0] for digest, _ in rows}) == 256
    assert all(one < other for (one, _), (other, _) in pairwise(rows))
    assert {place.raw_length for _, place in rows} == {65536}


def test_an_image_goes_into_it_and_comes_out(tmp_path: Path) -> None:
    data = copied(big_data(tmp_path, ROWS), tmp_path / "data")
    image, later = tmp_path / "image", tmp_path / "later"
    compressible_image(image, 4 * MIB, seed=1)
    next_version(image, later, seed=2)
    with Store(data) as store:
        base = store.ingest(image, ())
        chain = store.ingest(later, (), base)
        assert store.read(base) == store.read(chain) == 4 * MIB
    assert len(chain) == 2
    assert len(base) == 1


def test_a_next_version_has_one_block_in_forty_that_no_other_seed_has(tmp_path: Path) -> None:
    image = tmp_path / "image"
    compressible_image(image, 5 * MIB, seed=1)
    for seed in (2, 3):
        next_version(image, tmp_path / f"{seed}", seed)
        assert len(count.differing_blocks(image, tmp_path / f"{seed}")) == 2
    assert len(count.differing_blocks(tmp_path / "2", tmp_path / "3")) >= 2


def test_pages_that_were_read_are_in_memory_and_none_is_added_by_looking(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(MIB + 5))
    warm(file)
    assert resident(file) == 1.0
    drop(file)
    assert resident(file) <= 1.0
    assert file.stat().st_size == MIB + 5


def test_who_has_a_file_mapped_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(MIB))
    assert mappers(file) == []
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ):
        assert mappers(file) == [os.getpid()]
