"""Whatever the usual programs write is unpacked, to the byte, and zeros become holes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard

from catalog.conversion.unpack.program import unpack
from catalog.conversion_ports import PACKED
from tests.kit.hostile_files import large_zip, zipped

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
NOISE = random.Random(7).randbytes(300_000)
DISK = NOISE + bytes(3 * MIB + 5) + NOISE[:70_001] + bytes(200_000)


def zstd(data: bytes, *, size: bool = True, window: int = 20) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, window_log=window, write_checksum=True, write_content_size=size
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def skippable(data: bytes) -> bytes:
    return (0x184D2A5D).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


GZIPPED = gzip.compress(DISK)
GOOD = {
    "gzip": ("gzip", GZIPPED),
    "gzip with a name": ("gzip", GZIPPED[:3] + b"\x08" + GZIPPED[4:10] + b"disk\0" + GZIPPED[10:]),
    "gzip in members": ("gzip", b"".join(gzip.compress(DISK[at : at + 99_999]) for at in range(0, len(DISK), 99_999))),
    "gzip, stored": ("gzip", gzip.compress(DISK, 0)),
    "xz": ("xz", lzma.compress(DISK)),
    "xz in streams": ("xz", lzma.compress(DISK[:1000]) + bytes(8) + lzma.compress(DISK[1000:]) + bytes(4)),
    "zstd": ("zstd", zstd(DISK)),
    "zstd without its size": ("zstd", zstd(DISK, size=False)),
    "zstd with a large window": ("zstd", zstd(DISK, size=False, window=27)),
    "zstd in frames": ("zstd", skippable(b"head") + zstd(DISK[:5000]) + skippable(NOISE) + zstd(DISK[5000:])),
    "zip": ("zip", zipped(("disk.raw", DISK))),
    "a large zip": ("zip", large_zip(DISK)),
}  # fmt: skip


def unpacked(folder: Path, data: bytes, cap: int) -> tuple[dict[str, object], bytes, int]:
    (folder / "source").write_bytes(data)
    source = os.open(folder / "source", os.O_RDONLY)
    target = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    try:
        found = unpack(source, target, cap=cap)
        return found, (folder / "target").read_bytes(), os.fstat(target).st_blocks * 512
    finally:
        os.close(source)
        os.close(target)


@pytest.mark.parametrize("name", GOOD)
def test_what_is_well_formed_is_unpacked_and_sparse(tmp_path: Path, name: str) -> None:
    compression, data = GOOD[name]
    found, disk, room = unpacked(tmp_path, data, len(DISK))
    assert found == {"compression": compression, "size": len(DISK)}
    assert disk == DISK
    assert room < len(NOISE) + 4 * 65536 + 70_001


@pytest.mark.parametrize("name", GOOD)
def test_one_byte_more_than_the_cap_is_refused(tmp_path: Path, name: str) -> None:
    found, disk, _ = unpacked(tmp_path, GOOD[name][1], len(DISK) - 1)
    assert set(found) == {"refused"}
    assert len(disk) < len(DISK)


@pytest.mark.parametrize("data", [b"", b"x"])
@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd, lambda data: zipped(("d", data))])
def test_short_and_empty_files_are_files(tmp_path: Path, data: bytes, pack: type[bytes]) -> None:
    found, disk, _ = unpacked(tmp_path, pack(data), 10)
    assert found["size"] == len(data)
    assert disk == data


def test_other_ways_to_compress_are_named_as_unknown(tmp_path: Path) -> None:
    found, _, _ = unpacked(tmp_path, bz2.compress(DISK), len(DISK))
    assert "gzip, xz, zstd" in str(found["refused"])


@pytest.mark.parametrize("name", GOOD)
def test_any_file_that_is_changed_somewhere_is_refused_or_comes_to_the_same(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    _, data = GOOD[name]
    for each in range(20):
        folder = tmp_path / str(each)
        folder.mkdir()
        broken = bytearray(data)
        at = chance.randrange(len(broken))
        broken[at] ^= 1 << chance.randrange(8)
        found, disk, _ = unpacked(folder, bytes(broken), 2 * len(DISK))
        assert set(found) == {"refused"} or disk == DISK
        found, _, _ = unpacked(folder, data[: chance.randrange(len(data))], 2 * len(DISK))
        assert set(found) in ({"refused"}, {"compression", "size"})


@pytest.mark.parametrize("magic", PACKED)
def test_what_begins_as_a_compressed_file_is_taken_for_one(tmp_path: Path, magic: bytes) -> None:
    found, _, _ = unpacked(tmp_path, magic + b"\0" * 50, 1)
    assert "not compressed" not in str(found["refused"])


def test_zeros_of_any_length_become_holes_and_nothing_else_does(tmp_path: Path) -> None:
    chance = random.Random(3)
    disk = b"".join(
        bytes(chance.choice((1, 65_535, 65_536, 200_000, 2 * MIB)))
        if chance.random() < 0.5
        else NOISE[: chance.randrange(1, 90_000)]
        for _ in range(20)
    )
    packer = zlib.compressobj(1, wbits=31)
    _, got, _ = unpacked(tmp_path, packer.compress(disk) + packer.flush(), len(disk))
    assert got == disk
