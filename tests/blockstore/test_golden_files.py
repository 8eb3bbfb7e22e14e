"""The golden files, which the versions wrote that brought their formats: read them, and make the same bytes again."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore import frames, manifest_format
from blockstore.data_dir import decode_format, encode_format
from blockstore.digest import HOLE, digest
from blockstore.errors import Damaged
from blockstore.manifest import ManifestFile, open_chain
from blockstore.manifest_format import NO_BASE
from blockstore.packs import pack_format, resync
from blockstore.packs.pack_format import Start, TableRow
from blockstore.resolve import Resolver
from tests.blockstore.shelf import records_in
from tests.golden import make

if TYPE_CHECKING:
    from pathlib import Path


def golden(name: str) -> bytes:
    return (make.HERE / name).read_bytes()


def entries(name: str) -> list[resync.Found | resync.Skipped]:
    fd = os.open(make.HERE / name, os.O_RDONLY)
    try:
        return list(resync.walk(fd))
    finally:
        os.close(fd)


def frame_of(data: bytes, found: resync.Found) -> bytes:
    return data[found.end - found.header.frame_length : found.end]


def manifest_digest(name: str) -> bytes:
    data = golden(name)
    header = manifest_format.decode_header(data[: manifest_format.HEADER_SIZE], name)
    return manifest_format.manifest_digest(data[: manifest_format.HEADER_SIZE], data[header.directory :])


def test_the_sealed_pack_holds_its_blocks_in_order() -> None:
    data = golden("sealed.zst")
    assert pack_format.decode_start(data, "sealed.zst") == Start(make.STORE, make.PACK)
    *found, table = entries("sealed.zst")
    assert isinstance(table, resync.Skipped)
    blocks = []
    for part in found:
        assert isinstance(part, resync.Found)
        block = frames.decompress(frame_of(data, part), part.header.raw_length)
        assert digest(block) == part.header.digest
        blocks.append(block)
    assert tuple(blocks) == make.BLOCKS


def test_the_sealed_packs_table_lists_what_is_in_it() -> None:
    data = golden("sealed.zst")
    begins = pack_format.table_begins(data[-pack_format.TRAILER_SIZE :], len(data))
    found = [part for part in entries("sealed.zst") if isinstance(part, resync.Found)]
    assert begins == found[-1].end
    rows = [TableRow(f.offset, f.header.raw_length, f.header.frame_length, f.header.digest) for f in found]
    assert pack_format.decode_table(data[begins:], "sealed.zst") == rows


def test_the_sealed_pack_is_made_again_byte_by_byte_around_its_frames() -> None:
    # zstd's own bytes may change from one of its versions to the next, so the frames are taken from the file.
    data = golden("sealed.zst")
    made = [pack_format.encode_start(Start(make.STORE, make.PACK))]
    rows = []
    for part, block in zip(entries("sealed.zst"), make.BLOCKS, strict=False):
        assert isinstance(part, resync.Found)
        entry = pack_format.make_entry(digest(block), len(block), frame_of(data, part))
        made += [entry.header, bytes(entry.data)]
        rows.append(TableRow(part.offset, len(block), len(entry.data), digest(block)))
    made.append(pack_format.encode_table(rows, len(b"".join(made))))
    assert b"".join(made) == data


def test_plain_zstd_gives_the_sealed_packs_blocks() -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("the zstd program is not installed")
    plain = subprocess.run([zstd, "-dc", make.HERE / "sealed.zst"], capture_output=True, check=True).stdout
    assert plain == b"".join(make.BLOCKS)


def test_the_torn_pack_gives_the_entries_before_the_tear() -> None:
    *found, torn = entries("torn.zst")
    assert [part.header.digest for part in found if isinstance(part, resync.Found)] == [
        digest(block) for block in make.BLOCKS[:2]
    ]
    assert isinstance(torn, resync.Skipped)
    assert torn.end == len(golden("torn.zst"))
    data = golden("torn.zst")
    assert pack_format.table_begins(data[-pack_format.TRAILER_SIZE :], len(data)) is None


def test_the_whole_manifest_says_what_it_should() -> None:
    with closing(ManifestFile(make.HERE / "whole.manifest", manifest_digest("whole.manifest"))) as manifest:
        header = manifest.header
        assert (header.store, header.block_size, header.size) == (make.STORE, make.BLOCK, make.WHOLE_SIZE)
        assert (header.base, header.depth, header.entries, header.holes) == (NO_BASE, 0, len(make.WHOLE), 0)
        assert manifest.keys() == [0, 1]
        named = Resolver([manifest]).digests(0, header.blocks)
    assert len(named) == make.FAR + 2
    assert {number: name for number, name in enumerate(named) if name != HOLE} == {
        number: digest(block) for number, block in make.WHOLE.items()
    }


def test_the_increment_over_the_whole_manifest_is_the_image() -> None:
    names = ("increment.manifest", "whole.manifest")
    chain = open_chain([(make.HERE / name, manifest_digest(name)) for name in names])
    header = chain[0].header
    assert (header.size, header.depth, header.entries, header.holes) == (make.INCREMENT_SIZE, 1, 3, 1)
    assert header.base == manifest_digest("whole.manifest")
    expected = {number: digest(block) for number, block in make.WHOLE.items()}
    expected |= {number: HOLE if block is None else digest(block) for number, block in make.INCREMENT.items()}
    assert Resolver(chain).digests(0, header.blocks) == [expected.get(number, HOLE) for number in range(header.blocks)]
    for manifest in chain:
        manifest.close()


def test_the_increments_places_are_where_the_sealed_pack_has_its_blocks() -> None:
    entry_of = {part.header.digest: part for part in entries("sealed.zst") if isinstance(part, resync.Found)}
    with closing(ManifestFile(make.HERE / "increment.manifest", manifest_digest("increment.manifest"))) as manifest:
        for at in range(manifest.header.leaves):
            for row, place in zip(manifest.leaf_at(at), manifest.places_at(at).tolist(), strict=True):
                name = row["digest"].tobytes()
                found = entry_of.get(name)
                assert place == (
                    [1, found.offset, found.header.frame_length, found.header.raw_length] if found else [0, 0, 0, 0]
                )
                assert found or name == HOLE


@pytest.mark.parametrize("name", ["whole.manifest", "increment.manifest", "content.manifest", "torn.journal", "format"])
def test_the_file_is_made_again_byte_by_byte(name: str) -> None:
    assert make.files()[name] == golden(name)


def test_the_journal_holds_the_records_before_the_tear() -> None:
    assert tuple(records_in(golden("torn.journal"))) == make.RECORDS


def test_the_format_file_holds_the_stores_id() -> None:
    assert decode_format(golden("format"), "format") == make.STORE
    assert encode_format(make.STORE) == golden("format")


def test_the_content_defined_manifest_is_the_stream_that_was_cut() -> None:
    with closing(ManifestFile(make.HERE / "content.manifest", manifest_digest("content.manifest"))) as manifest:
        header = manifest.header
        assert (header.cutting, header.size, header.base, header.depth) == (make.CONTENT, len(make.STREAM), NO_BASE, 0)
        assert (header.entries, header.holes, header.algorithm) == (6, 1, 1)
        blocks = [block[:3] for block in Resolver([manifest]).blocks(0, header.size)]
    assert [begins + length for begins, length, _ in blocks] == list(
        make.CONTENT.cutter().cut(memoryview(make.STREAM), last=True)
    )
    parts = [make.STREAM[begins : begins + length] for begins, length, _ in blocks]
    assert [name for _, _, name in blocks] == [digest(part) if any(part) else HOLE for part in parts]


@pytest.mark.parametrize(("name", "keys"), [("whole.manifest", (0, 1)), ("content.manifest", (0,))])
def test_every_bit_of_a_golden_manifest_matters(tmp_path: Path, name: str, keys: tuple[int, ...]) -> None:
    whole = golden(name)
    asked = manifest_digest(name)
    for bit in range(0, len(whole) * 8, 7):
        bad = bytearray(whole)
        bad[bit // 8] ^= 1 << bit % 8
        path = tmp_path / "bad.manifest"
        path.write_bytes(bad)
        with pytest.raises(Damaged), closing(ManifestFile(path, asked)) as manifest:
            for key in keys:
                manifest.leaf(key)


def test_a_golden_file_has_nothing_more_than_what_is_made() -> None:
    kept = {path.name for path in make.HERE.iterdir() if path.is_file() and path.suffix != ".py"}
    assert kept == set(make.files())
