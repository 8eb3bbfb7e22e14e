from __future__ import annotations

from typing import TYPE_CHECKING

from bench.images import MIB, compressible_image
from bench.limit import Limit, Part, ingest_steps
from bench.primitives import HASHES, INGEST, READ, Task, alone, fused

if TYPE_CHECKING:
    from pathlib import Path


def test_a_primitive_never_counts_as_slower_than_nine_tenths_of_its_single_speed() -> None:
    assert Part("zstd", 900_000_000, cpu=5.0, single=500.0).counted == 2.0
    assert Part("zstd", 900_000_000, cpu=1.5, single=500.0).counted == 1.5
    assert Part("HTTP alone", 900_000_000, cpu=1.5).counted == 1.5


def test_the_limit_is_the_cores_share_of_the_work_or_the_slowest_hash() -> None:
    work, hashing = Part("zstd", 10**9, 3.0, 300.0), Part("md5", 10**9, 1.0, 1000.0)
    assert Limit("first", 10**9, (work, hashing), cores=2).seconds == 2.0
    assert Limit("first", 10**9, (work, hashing), cores=8).seconds == 1.0
    assert Limit("first", 10**9, (work, hashing), cores=2).mb_per_s == 500


def test_the_limit_prints_each_primitive() -> None:
    lines = Limit("first", 10**9, (Part("zstd", 10**9, 2.0, 400.0), Part("HTTP alone", 10**9, 1.0)), cores=2).lines()
    assert lines[0] == "limit of first: 667 MB/s, set by CPU on 2 cores"
    assert lines[2] == "  zstd: 2.00 s CPU for 1000 MB (500 MB/s fused, 400 MB/s alone)"


def test_without_hashes_nothing_else_is_left_out() -> None:
    assert set(ingest_steps(hashes=True)) - set(ingest_steps(hashes=False)) == set(HASHES)


def test_the_fused_primitives_see_every_byte_once(tmp_path: Path) -> None:
    image = tmp_path / "image"
    compressible_image(image, 5 * MIB + 1000, seed=1)
    with image.open("r+b") as file:
        file.seek(MIB)
        file.write(bytes(MIB))
    parts = [fused(Task(image, tmp_path / "pack", INGEST, None, part, 2)) for part in range(2)]
    size = image.stat().st_size
    assert sum(part["sha512"].size for part in parts) == size
    assert sum(part["zstd"].size for part in parts) == size - MIB
    assert sum(part["write"].size for part in parts) < size / 2


def test_nothing_is_new_when_the_image_is_held(tmp_path: Path) -> None:
    image = tmp_path / "image"
    compressible_image(image, 2 * MIB, seed=1)
    spent = fused(Task(image, tmp_path / "pack", INGEST, image))
    assert spent["zstd"].size == spent["write"].size == 0
    assert spent["blake3"].size == 2 * MIB


def test_reading_gives_back_what_ingest_packed(tmp_path: Path) -> None:
    image = tmp_path / "image"
    compressible_image(image, 3 * MIB + 77, seed=1)
    for spent in (fused(Task(image, tmp_path / "pack", READ)), alone(Task(image, tmp_path / "pack", READ))):
        assert spent["unzstd"].size == spent["blake3"].size == image.stat().st_size
        assert 0 < spent["pread"].size < image.stat().st_size / 2
