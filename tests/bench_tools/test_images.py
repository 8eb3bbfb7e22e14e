from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bench import count, images, usr_files

if TYPE_CHECKING:
    from pathlib import Path

MIB = images.MIB


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A machine with few files, some of them text, some noise."""
    dice = random.Random(5)
    home = tmp_path / "usr"
    for number in range(60):
        path = home / f"share/d{number % 7}/file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(20000) + f"line {number} of a text\n".encode() * 3000)
    (home / "share/with space").write_bytes(b"x")
    (home / "share/link").symlink_to("d0")
    return home


def test_the_sample_is_the_same_at_every_call_and_names_plain_files_only(tree: Path) -> None:
    first = usr_files.sample([tree])
    assert first == usr_files.sample([tree])
    assert len(first) == 60


def test_taking_fills_the_budget_and_no_more_than_asked(tree: Path) -> None:
    sources = usr_files.sample([tree])
    taken = usr_files.take(iter(sources), 20 * MIB)
    assert sum(source.room for source in taken) == sum(source.room for source in sources)
    assert len(usr_files.take(iter(sources), 20 * MIB, 3)) == 3
    assert usr_files.take(iter(sources), 8192) == []


def test_a_real_pair_differs_in_at_least_two_percent_of_its_blocks_and_is_made_once(tmp_path: Path, tree: Path) -> None:
    pair = images.real_pair(tmp_path / "work", 24 * MIB, [tree])
    differing = count.differing_blocks(pair.v1, pair.v2)
    assert len(differing) == pair.differing
    assert pair.differing >= 0.02 * pair.blocks
    assert pair.v1.stat().st_size == pair.v2.stat().st_size == 24 * MIB
    assert 0 < pair.hole_blocks < pair.blocks
    made = pair.v1.stat().st_mtime_ns
    again = images.real_pair(tmp_path / "work", 24 * MIB, [tree])
    assert again.v1.stat().st_mtime_ns == made
    assert again == pair


def test_a_compressible_image_shrinks_two_to_three_times_and_repeats_no_block(tmp_path: Path) -> None:
    path = tmp_path / "image"
    images.compressible_image(path, 3 * MIB + 5, seed=1)
    assert path.stat().st_size == 3 * MIB + 5
    assert 2 < path.stat().st_size / count.zstd1_size(path, range(49)) < 3
    data = path.read_bytes()
    assert len({data[at : at + count.BLOCK] for at in range(0, len(data), count.BLOCK)}) == 49


def test_compressible_images_share_no_block_unless_their_seed_is_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    for path, seed in zip(paths, (1, 2, 1), strict=True):
        images.compressible_image(path, MIB, seed)
    assert len(count.differing_blocks(paths[0], paths[1])) == 16
    assert count.differing_blocks(paths[0], paths[2]) == []


def test_hole_and_random_images_have_their_size(tmp_path: Path) -> None:
    images.hole_image(tmp_path / "hole", 5 * MIB)
    images.random_image(tmp_path / "random", 5 * MIB + 3)
    assert (tmp_path / "hole").stat().st_blocks == 0
    assert (tmp_path / "random").stat().st_size == 5 * MIB + 3


@pytest.mark.parametrize(("text", "size"), [("12", 12), ("4GiB", 4 << 30), ("96MiB", 96 << 20), ("0.5KiB", 512)])
def test_sizes_are_read_with_their_unit(text: str, size: int) -> None:
    assert images.in_bytes(text) == size
