from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

from bench import count

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = count.BLOCK


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_blocks_that_differ_are_counted_by_number_across_pieces(tmp_path: Path) -> None:
    old = bytearray(200 * BLOCK)
    new = bytearray(old)
    for number, offset in ((0, 0), (63, BLOCK - 1), (64, 0), (199, 17)):
        new[number * BLOCK + offset] = 1
    first, second = written(tmp_path / "old", bytes(old)), written(tmp_path / "new", bytes(new))
    assert count.differing_blocks(first, second) == [0, 63, 64, 199]


def test_an_image_that_grew_differs_in_what_is_new(tmp_path: Path) -> None:
    first, second = written(tmp_path / "old", b"a" * BLOCK), written(tmp_path / "new", b"a" * BLOCK + b"tail")
    assert count.differing_blocks(first, second) == [1]
    assert count.differing_blocks(second, first) == []


def test_a_last_block_that_was_cut_differs(tmp_path: Path) -> None:
    first, second = written(tmp_path / "old", b"a" * BLOCK), written(tmp_path / "new", b"a" * 100)
    assert count.differing_blocks(first, second) == [0]


def test_blocks_are_compressed_one_by_one_and_zeros_cost_nothing(tmp_path: Path) -> None:
    one, two = b"one" * 21845 + b"!", b"two" * 21845 + b"!"
    path = written(tmp_path / "image", one + bytes(BLOCK) + two)
    compressor = zstandard.ZstdCompressor(level=1)
    expected = len(compressor.compress(one)) + len(compressor.compress(two))
    assert count.zstd1_size(path, [0, 1, 2]) == expected


def test_only_whole_blocks_of_zeros_are_holes(tmp_path: Path) -> None:
    assert count.zero_blocks(written(tmp_path / "image", bytes(2 * BLOCK) + b"x" + bytes(BLOCK - 1) + bytes(5))) == 2
