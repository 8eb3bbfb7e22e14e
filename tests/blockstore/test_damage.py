from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import BlockstoreError, Damaged
from blockstore.manifest import second_of
from blockstore.store import BlockStore, StoreOptions
from tests.kit.images_in_store import link, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 4096
OPTIONS = StoreOptions(slab=16 * 1024, slab_budget=1 << 20, generation_seconds=0.05, index_map=1 << 30)
DATA = random.Random(9).randbytes(40 * BLOCK) + bytes(5 * BLOCK) + b"tail"


@pytest.fixture
def data_dir(tmp_path: Path) -> tuple[Path, tuple[str, bytes]]:
    store = BlockStore.open(tmp_path, OPTIONS)
    image = link(write_image(store, [DATA]))
    store.close()
    return tmp_path, image


def the_file(root: Path, suffix: str) -> Path:
    (path,) = root.rglob(f"*{suffix}")
    return path


def alone(path: Path) -> None:
    """Leave a manifest without its second copy."""
    second_of(path).unlink(missing_ok=True)


def read_or_error(root: Path, image: tuple[str, bytes]) -> bytes | BlockstoreError:
    store = BlockStore.open(root, OPTIONS)
    try:
        return read_image(store, [image])
    except BlockstoreError as error:
        return error
    finally:
        store.close()


@pytest.mark.parametrize("suffix", [".zst", ".manifest"])
def test_a_flipped_bit_never_gives_a_wrong_byte_and_the_error_names_the_file(
    data_dir: tuple[Path, tuple[str, bytes]], suffix: str
) -> None:
    root, image = data_dir
    path = the_file(root, suffix)
    alone(path)
    whole = path.read_bytes()
    errors = 0
    for bit in random.Random(3).sample(range(len(whole) * 8), 60):
        bad = bytearray(whole)
        bad[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bad)
        got = read_or_error(root, image)
        if isinstance(got, BlockstoreError):
            assert isinstance(got, Damaged)
            assert str(path) in str(got)
            errors += 1
        else:
            assert got == DATA
    assert errors >= 50, "nearly every bit of these files matters"


@pytest.mark.parametrize("suffix", [".zst", ".manifest"])
def test_a_truncated_file_never_gives_a_wrong_byte_and_the_error_names_the_file(
    data_dir: tuple[Path, tuple[str, bytes]], suffix: str
) -> None:
    root, image = data_dir
    path = the_file(root, suffix)
    alone(path)
    whole = path.read_bytes()
    for size in (0, 1, 50, len(whole) // 2, len(whole) * 9 // 10):
        path.write_bytes(whole[:size])
        got = read_or_error(root, image)
        assert isinstance(got, Damaged)
        assert str(path) in str(got)


def test_another_manifest_under_the_same_name_is_refused(tmp_path: Path) -> None:
    store = BlockStore.open(tmp_path, OPTIONS)
    one, other = write_image(store, [DATA]), write_image(store, [DATA[:-1]])
    with pytest.raises(Damaged, match="digest differs"):
        store.reader([(one.manifest.name, other.manifest.digest)])
    with pytest.raises(Damaged, match="another base"):
        increment = write_image(store, [DATA + b"x"], base=[link(one)])
        store.reader([link(increment), link(other)])
    store.close()
