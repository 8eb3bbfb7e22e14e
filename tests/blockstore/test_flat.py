"""The flat manifest of a chain is the file that coalescing would write, byte for byte."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.coalesce import Flattening
from blockstore.digest import HOLE
from blockstore.disk import Disk
from blockstore.errors import Damaged
from blockstore.flat import FlatManifest
from blockstore.manifest import ManifestFile, open_chain, second_of
from blockstore.manifest_builder import ManifestBuilder, path_of
from chunker.cutting import CutKind, Cutting
from tests.blockstore.shelf import BLOCK, STORE, Shelf, name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def made(flat: FlatManifest, windows: int) -> bytes:
    while not flat.look(windows):
        pass
    data = b"".join(flat.part(number) for number in range(flat.parts))
    assert len(data) == flat.size
    return data


@pytest.mark.parametrize("windows", [1, 2, 100])
def test_a_chain_gives_the_bytes_of_its_coalesced_file(shelf: Shelf, windows: int) -> None:
    base = shelf.write(3000 * BLOCK + 7, {n: name(n) for n in (0, 5, 1500, 2999, 3000)})
    middle = shelf.write(2500 * BLOCK, {5: HOLE, 1024: name(7)}, base)
    top = shelf.write(5000 * BLOCK + 9, {0: name(70), 2499: name(8), 5000: name(9)}, middle)
    chain = open_chain([top, middle, base])
    flat = FlatManifest(chain)
    data = made(flat, windows)
    built = Flattening(chain, shelf.folder, Disk(), lambda names: [None] * len(names)).run()
    assert data == path_of(shelf.folder, built.name).read_bytes()
    assert (flat.digest, flat.data_blocks) == (built.digest, 5)


def test_a_file_that_is_flat_is_given_as_it_is(shelf: Shelf) -> None:
    for listed in ({}, {0: name(0)}, {n: name(n) for n in range(0, 5000, 3)}):
        path, digest = shelf.write(5000 * BLOCK, listed)
        with closing(ManifestFile(path, digest)) as manifest:
            flat = FlatManifest([manifest])
            assert made(flat, 3) == path.read_bytes()
            assert flat.digest == digest


def test_an_empty_image_has_a_header_alone(shelf: Shelf) -> None:
    path, digest = shelf.write(0, {})
    with closing(ManifestFile(path, digest)) as manifest:
        assert made(FlatManifest([manifest]), 1) == path.read_bytes()


def test_a_content_defined_image_is_given_as_it_is(tmp_path: Path) -> None:
    builder = ManifestBuilder(tmp_path, STORE, Cutting(CutKind.CONTENT_DEFINED, 16384), None, Disk())
    names = [HOLE if n % 5 == 0 else name(n) for n in range(2500)]
    for first in range(0, 2500, 500):
        builder.add(first, names[first : first + 500], frozenset(), [5000 * (n + 1) for n in range(500)])
    built = builder.finish(2500 * 5000)
    path = path_of(tmp_path, built.name)
    with closing(ManifestFile(path, built.digest)) as manifest:
        flat = FlatManifest([manifest])
        assert made(flat, 1) == path.read_bytes()
        assert (flat.digest, flat.data_blocks) == (built.digest, 2000)


def test_a_leaf_that_is_damaged_meanwhile_is_not_given(shelf: Shelf) -> None:
    path, digest = shelf.write(10 * BLOCK, {n: name(n) for n in range(10)})
    with closing(ManifestFile(path, digest)) as manifest:
        flat = FlatManifest([manifest])
        assert flat.look(10)
        second_of(path).unlink()
        with path.open("r+b") as file:
            file.seek(140)
            file.write(b"\xff\xfe")
        with pytest.raises(Damaged):
            flat.part(1)
