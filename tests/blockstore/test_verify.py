from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import BlockstoreError
from blockstore.index.contract import PackState
from blockstore.manifest_copies import copies_of
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.model.errors import CatalogError
from catalog.usecases import administration
from tests.kit.filled_store import contents, delete, fill, flip, looked_after, read

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.findings import Finding
    from catalog.usecases.administration import Verification

IMAGES = contents()
DATA = Wanted(data=True)
FLIPS = 250
# Verified hundreds of times, once for each byte.
FEW_BLOCKS = IMAGES[0][:60_000]


def verify(root: Path, wanted: Wanted = DATA) -> Verification:
    with looked_after(root) as (store, records):
        return administration.verify_all(store, records, wanted, Silent())


def files(root: Path) -> list[Path]:
    return sorted(
        [*root.glob("packs/*/*.zst"), *root.glob("manifests/*/*.manifest"), *root.glob("manifests/*/*.second")]
    )


def spots(root: Path, count: int, seed: int) -> list[tuple[Path, int]]:
    """Bits at random places of all packs and manifests, as likely in a small file as in a large one."""
    rng, all_files = random.Random(seed), files(root)
    return [(path, rng.randrange(path.stat().st_size * 8)) for path in rng.choices(all_files, k=count)]


def tells(findings: list[Finding], path: Path, bit: int) -> bool:
    return any(each.file == str(path) and each.begins <= bit // 8 < each.ends for each in findings)


@pytest.mark.parametrize("wanted", [Wanted(), DATA, Wanted(data=True, threads=1, rate=1 << 30)])
def test_what_was_written_is_clean(filled: tuple[Path, list[str]], wanted: Wanted) -> None:
    found = verify(filled[0], wanted)
    assert found.verified.clean
    assert not found.verified.findings
    assert not found.harmed
    assert found.verified.entries == found.verified.rows > 200
    assert found.verified.manifests == len(IMAGES)


def test_each_bit_flipped_alone_is_found_and_its_place_told(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    missed = []
    with looked_after(root) as (store, records):
        for path, bit in spots(root, 60, seed=1):
            flip(path, bit)
            found = administration.verify_all(store, records, Wanted(data=True, mark=False), Silent())
            if found.verified.clean or not tells(found.verified.findings, path, bit):
                missed.append((path, bit // 8, found.verified.findings))
            flip(path, bit)
    assert not missed
    assert verify(root).verified.clean


@pytest.mark.parametrize("part", ["start frame", "entry header", "table", "manifest header", "directory"])
def test_each_byte_of_the_small_parts_is_covered(tmp_path: Path, part: str) -> None:
    root = tmp_path / "data"
    fill(root, [FEW_BLOCKS])
    pack, manifest = next(root.rglob("*.zst")), next(root.rglob("*.manifest"))
    size = pack.stat().st_size
    table = int.from_bytes(pack.read_bytes()[-24:-16], "little")
    ends = {
        "start frame": (pack, range(68)),
        "entry header": (pack, range(68, 144)),
        "table": (pack, range(table, size, max(1, (size - table) // 90))),
        "manifest header": (manifest, range(128)),
        "directory": (manifest, range(manifest.stat().st_size - 56, manifest.stat().st_size)),
    }
    path, places = ends[part]
    with looked_after(root) as (store, records):
        for at in places:
            flip(path, at * 8 + at % 8)
            found = administration.verify_all(store, records, Wanted(mark=False), Silent())
            assert tells(found.verified.findings, path, at * 8), at
            flip(path, at * 8 + at % 8)


def test_very_many_bits_flipped_at_once_are_all_found_and_none_is_served(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    flips = spots(root, FLIPS, seed=2)
    for path, bit in set(flips):
        flip(path, bit)
    found = verify(root)
    assert not [(path, bit // 8) for path, bit in flips if not tells(found.verified.findings, path, bit)]
    assert {image.id for image in found.harmed} == set(ids)
    for image_id in ids:
        with pytest.raises((BlockstoreError, CatalogError)):
            read(root, image_id)


def test_damage_in_one_image_names_this_one_and_the_next_upload_of_its_bytes_heals_it(
    filled: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, ids = filled
    with looked_after(root) as (store, _):
        shared = {record.number: store.packs.path(record.name) for record in store.index.packs()}
    path = shared[max(shared)]
    flip(path, 5000 * 8)
    found = verify(root)
    assert found.verified.marked_bad == 1
    [finding] = found.verified.findings
    assert finding.block is not None
    assert not finding.harmless
    harmed = {image.id for image in found.harmed}
    assert harmed
    assert harmed < set(ids), "the others are whole"
    for number, image_id in enumerate(ids):
        if image_id in harmed:
            with pytest.raises(BlockstoreError):
                read(root, image_id)
        else:
            assert read(root, image_id) == IMAGES[number]
    fill(root, IMAGES)
    assert [read(root, image_id) for image_id in ids] == IMAGES
    healed = verify(root)
    assert not healed.harmed
    assert all(each.harmless for each in healed.verified.findings)


def test_marking_can_be_left_out(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    flip(next(root.rglob("*.zst")), 5000 * 8)
    assert verify(root, Wanted(data=True, mark=False)).verified.marked_bad == 0
    with looked_after(root) as (store, _):
        assert store.index.size().bad == 0


def test_what_is_gone_is_told_with_the_images_that_miss_it(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    first = min(root.rglob("*.zst"), key=lambda path: path.name)
    first.unlink()
    manifest = next(root.rglob("*.manifest"))
    for copy in copies_of(manifest):
        copy.unlink()
    found = verify(root, Wanted())
    texts = [each.what for each in found.verified.findings]
    assert any("gone" in text for text in texts)
    assert any(str(manifest) in text for text in texts)
    assert {image.id for image in found.harmed} == set(ids), "they share what the first pack had"


def test_a_row_that_is_missing_or_leads_astray_is_told(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    with looked_after(root) as (store, _):
        (gone, _), (astray, place), (nowhere, _) = list(store.index.scan())[:3]
        store.index.condemn_many([gone], b"run")
        store.index.forget_many([gone], b"run")
        store.index.move_many({astray: (place, place._replace(offset=place.offset + 1))})
        other = store.index.register_pack(bytes(range(16)), "nobody")
        store.index.move_many({nowhere: (store.index.get_many([nowhere])[0], place._replace(pack=other))})  # type: ignore[dict-item]
        store.index.drop_pack(other)
    found = verify(root, Wanted())
    told = {each.block for each in found.verified.findings}
    assert {gone.hex(), astray.hex(), nowhere.hex()} == told
    assert found.harmed
    assert any("rebuild-index" in each.what for each in found.verified.findings)


def test_the_catalog_is_compared_with_the_manifests(filled: tuple[Path, list[str]]) -> None:
    import sqlite3

    root, ids = filled
    with sqlite3.connect(root / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE images SET size = size + 1 WHERE id = ?", (ids[0],))
        catalog.execute("UPDATE image_locations SET url = 'blocks://other/x' WHERE image_id = ?", (ids[1],))
        catalog.execute(
            "UPDATE manifests SET size = 7 WHERE id = (SELECT manifest FROM image_locations WHERE image_id = ?)",
            (ids[2],),
        )
    catalog.close()
    found = verify(root, Wanted())
    texts = " ".join(each.what for each in found.verified.findings)
    for image_id in ids:
        assert image_id in texts
    assert "7 bytes at depth 0" in texts


def test_deleted_images_and_strays_are_garbage_not_damage(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    delete(root, ids[0])
    (root / "journals" / f"{'ab' * 16}.journal").write_bytes(b"torn")
    manifest = next(root.rglob("*.manifest"))
    shutil.copy(manifest, manifest.with_name(f"{'cd' * 16}.manifest"))
    found = verify(root)
    assert found.verified.clean
    assert any("2 manifests and 1 journals" in note for note in found.verified.notes)


def test_an_open_pack_in_which_nothing_was_acknowledged_is_nobodys_matter(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    with looked_after(root) as (store, _):
        for number, begun in enumerate((None, b"", b"torn")):
            name = bytes([number]) * 16
            store.index.register_pack(name, "nobody")
            if begun is not None:
                store.packs.path(name).write_bytes(begun)
    assert verify(root).verified.clean


def test_a_pack_that_is_still_open_is_checked_as_far_as_rows_name_it(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    with looked_after(root) as (store, _):
        record = store.index.packs()[0]
        path = store.packs.path(record.name)
        assert record.state is PackState.SEALED
        number = store.index.register_pack(record.name, "nobody")
        store.index.move_many(
            {
                name: (place, place._replace(pack=number))
                for name, place in store.index.scan()
                if place.pack == record.number
            }
        )
        store.index.drop_pack(record.number)
    os.truncate(path, record.indexed_end + 5)
    assert verify(root).verified.clean
    os.truncate(path, record.indexed_end - 5)
    assert not verify(root).verified.clean
