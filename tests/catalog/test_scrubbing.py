from __future__ import annotations

import asyncio
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from blockstore import listing, verified_at
from blockstore.errors import BlockstoreError, Damaged
from blockstore.index.contract import PackState
from blockstore.manifest_copies import copies_of
from blockstore.progress import Silent
from blockstore.scrub import Scrubbing
from catalog.health import health_of
from catalog.sql.records import open_records
from catalog.usecases import scrubbing
from tests.kit.bad_sectors import unreadable
from tests.kit.collector import bare
from tests.kit.filled_store import contents, delete, fill, flip, looked_after, read, verified
from tests.kit.image_service import image_service

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.store import BlockStore
    from catalog.usecases.scrubbing import ScrubReport

IMAGES = contents()


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


class InterruptedAfter(Silent):
    """Ends the work after so many packs."""

    def __init__(self, packs: int) -> None:
        self.left = packs
        self.what = ""
        self.totals: dict[str, int] = {}

    def begin(self, what: str, total: int, unit: str = "") -> None:
        self.what = what
        self.totals[what] = total

    def moved(self, done: int) -> None:
        if self.what == "packs" and done == self.left:
            raise Interrupted


def scrubbed(root: Path, progress: Silent | None = None) -> ScrubReport:
    with looked_after(root) as (store, records):
        found = scrubbing.scrub_all(store, records, Scrubbing(), progress or Silent())
    scrubbing.log_report(found)
    return found


def scrub_beside(store: BlockStore) -> ScrubReport:
    with open_records(store._data.root / "catalog.sqlite") as records:
        return scrubbing.scrub_all(bare(store), records, Scrubbing(), Silent())


def packs_of(root: Path) -> list[Path]:
    """The oldest first."""
    return sorted((listed.path for listed in listing.packs(root)), key=lambda path: path.name)


def test_what_is_right_is_left_as_it_is_and_said_to_be_verified(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    before = {
        path: path.read_bytes() for path in root.rglob("*.*") if path.parent.parent.name in {"packs", "manifests"}
    }
    found = scrubbed(root)
    assert found.scrubbed.clean
    assert not found.harmed
    assert found.scrubbed.looked.packs == len(packs_of(root))
    assert found.scrubbed.looked.manifests == len(IMAGES)
    assert all(path.read_bytes() == data for path, data in before.items())
    with looked_after(root) as (store, _):
        known = verified_at.load(root, store.data.store).of([record.name for record in store.index.packs()])
    assert known.never == 0
    assert known.oldest
    assert known.pass_began == 0
    assert known.pass_ended >= known.oldest
    health = health_of(root)
    assert health is not None
    assert (health.bad_blocks, health.harmed) == (0, [])


def test_an_interrupted_pass_goes_on_where_it_was(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    progress = InterruptedAfter(2)
    with pytest.raises(Interrupted):
        scrubbed(root, progress)
    with looked_after(root) as (store, _):
        state = verified_at.load(root, store.data.store)
    assert state.began
    assert not state.finished
    seen = [path for path in packs_of(root) if state.is_done(bytes.fromhex(path.stem))]
    assert len(seen) == 2
    # What was seen is not read again in this pass, so damage that comes now is the next one's.
    flip(seen[0], 5000 * 8)
    again = InterruptedAfter(0)
    found = scrubbed(root, again)
    assert again.totals["packs"] == progress.totals["packs"] - 2
    assert found.scrubbed.clean
    assert not scrubbed(root).scrubbed.clean


def test_a_damaged_or_lost_copy_of_a_manifest_is_written_anew(
    filled: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    root, ids = filled
    (one, _), (_, two), (three, _) = (copies_of(listed.path) for listed in listing.manifests(root))
    before = [path.read_bytes() for path in (one, two, three)]
    flip(one, 150 * 8)
    two.unlink()
    three.write_bytes(b"short")
    assert [read(root, image_id) for image_id in ids] == IMAGES
    found = scrubbed(root)
    assert found.scrubbed.clean
    assert not found.harmed
    assert set(found.scrubbed.mended) == {str(one), str(two), str(three)}
    assert [path.read_bytes() for path in (one, two, three)] == before
    assert "written anew from the other copy" in caplog.text
    verified(root)


def test_a_manifest_that_the_disk_cannot_read_in_any_copy_is_told_of(filled: tuple[Path, list[str]]) -> None:
    """One from before there were two copies has one only."""
    root, _ = filled
    first, second = copies_of(next(listing.manifests(root)).path)
    second.unlink()
    with unreadable(first, 200, 210):
        found = scrubbed(root)
    assert not found.scrubbed.clean
    assert found.scrubbed.unreadable == [first.stem]
    assert scrubbed(root).scrubbed.mended == [str(second)], "it is looked at again"


def test_a_pass_that_is_interrupted_before_rows_in_doubt_were_looked_at_looks_at_them_when_it_goes_on(
    filled: tuple[Path, list[str]],
) -> None:
    """The pack has lost its table, and the header of an entry: only the row knows that a block was there."""
    root, ids = filled
    with looked_after(root) as (store, _):
        name, place = next(store.index.scan())
        record = store.index.pack(place.pack)
        assert record is not None
        pack = store.packs.path(record.name)
    flip(pack, 8 * (place.offset + 20))
    flip(pack, 8 * (pack.stat().st_size - 10))
    with pytest.raises(Interrupted):
        scrubbed(root, InterruptedAfter(len(packs_of(root))))
    found = scrubbed(root)
    assert found.scrubbed.bad == {name}
    assert {image.id for image in found.harmed} <= set(ids)
    assert found.harmed


def test_a_pack_whose_table_the_disk_cannot_read_keeps_no_other_from_being_scrubbed(
    filled: tuple[Path, list[str]],
) -> None:
    root, ids = filled
    packs = packs_of(root)
    size = packs[0].stat().st_size
    with unreadable(packs[0], size - 30, size):
        found = scrubbed(root)
        assert found.scrubbed.looked.packs == len(packs)
        assert not found.scrubbed.clean
        assert {finding.file for finding in found.scrubbed.looked.findings} == {str(packs[0])}
        assert not found.scrubbed.bad
        assert not found.harmed, "its blocks are all there"
    assert [read(root, image_id) for image_id in ids] == IMAGES


def test_a_manifest_without_a_right_copy_names_its_image_and_its_heirs(
    filled: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    root, ids = filled
    with looked_after(root) as (_, records):
        images = {image.id: image for image in records.read(lambda uow: uow.inventory.images())}
    name = images[ids[1]].manifest
    path = next(listed.path for listed in listing.manifests(root) if listed.name == name)
    for copy in copies_of(path):
        flip(copy, 150 * 8)
    found = scrubbed(root)
    assert not found.scrubbed.clean
    assert [(image.id, image.name, image.blocks) for image in found.harmed] == [(ids[1], "image 1", 0)]
    assert {finding.file for finding in found.scrubbed.looked.findings} == set(map(str, copies_of(path)))
    assert f"image {ids[1]} (image 1) cannot be read whole" in caplog.text
    again = scrubbed(root)
    assert [image.id for image in again.harmed] == [ids[1]]


def test_a_damaged_block_is_marked_its_images_named_and_an_upload_heals_it(
    filled: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    root, ids = filled
    path = packs_of(root)[-1]
    flip(path, 5000 * 8)
    found = scrubbed(root)
    assert found.scrubbed.looked.marked_bad == len(found.scrubbed.bad) == 1
    assert found.harmed
    assert {image.id for image in found.harmed} < set(ids)
    for image in found.harmed:
        assert image.blocks == 1
        assert f"image {image.id} ({image.name}) cannot be read whole: 1 of its blocks are damaged" in caplog.text
        with pytest.raises(BlockstoreError):
            read(root, image.id)
    health = health_of(root)
    assert health is not None
    assert health.bad_blocks == 1
    assert health.harmed == found.harmed
    fill(root, IMAGES)
    after = scrubbed(root)
    assert not after.harmed
    assert not after.scrubbed.bad
    assert [read(root, image_id) for image_id in ids] == IMAGES


def test_another_whole_entry_of_a_damaged_block_takes_its_place(filled: tuple[Path, list[str]]) -> None:
    """As two processes leave them that store the same block in the same moment."""
    root, ids = filled
    with looked_after(root) as (store, _):
        old = store.index.packs()[0]
        source = store.packs.path(old.name)
        name = bytes([7]) * 16
        number = store.index.register_pack(name, "somebody")
        shutil.copy(source, store.packs.path(name))
        store.index.advance_pack(number, store.index.packs()[0].state)
    # The copy's first frame is of another name, which harms nobody.
    flip(source, 5000 * 8)
    found = scrubbed(root)
    assert found.scrubbed.healed == 1
    assert not found.scrubbed.bad
    assert not found.harmed
    assert [read(root, image_id) for image_id in ids] == IMAGES


@pytest.mark.parametrize("damage", ["gone", "table", "cut"])
def test_rows_whose_entries_cannot_be_found_any_more_are_marked(filled: tuple[Path, list[str]], damage: str) -> None:
    root, ids = filled
    path = packs_of(root)[0]
    size = path.stat().st_size
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        with path.open("r+b") as file:
            file.truncate(size // 2)
    else:
        flip(path, (size - 30) * 8)
        flip(path, 300 * 8)
    found = scrubbed(root)
    assert found.scrubbed.bad
    assert found.harmed
    for number, image_id in enumerate(ids):
        if image_id in {image.id for image in found.harmed}:
            with pytest.raises(BlockstoreError):
                read(root, image_id)
        else:
            assert read(root, image_id) == IMAGES[number]
    fill(root, IMAGES)
    assert [read(root, image_id) for image_id in ids] == IMAGES
    assert not scrubbed(root).harmed


@pytest.mark.parametrize("at", [0, 64, 200], ids=["header", "header, further on", "frame"])
def test_damage_in_an_open_pack_alarms_until_it_is_healed_and_no_longer(tmp_path: Path, at: int) -> None:
    async def scene() -> None:
        with image_service(tmp_path) as service:
            image_id = await service.new()
            await service.put(image_id, IMAGES[0])
            names = {pack.number: pack.name for pack in service.store.index.packs() if pack.state is PackState.OPEN}
            _, place = next(row for row in service.store.index.scan() if row[1].pack in names)
            flip(service.store.packs.path(names[place.pack]), (place.offset + at) * 8)
            found = await asyncio.to_thread(scrub_beside, service.store)
            assert not found.scrubbed.clean
            assert len(found.scrubbed.bad) == 1, "it is left out of dedup at once"
            assert [image.id for image in found.harmed] == [image_id]
            await service.put(await service.new(), IMAGES[0])
            assert await service.get(image_id) == IMAGES[0]
            found = await asyncio.to_thread(scrub_beside, service.store)
            assert found.scrubbed.clean, found.scrubbed.looked.findings
            assert not found.harmed

    asyncio.run(scene())


def test_deleted_images_are_nobodys_harm(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    flip(packs_of(root)[0], 5000 * 8)
    assert scrubbed(root).harmed
    delete(root, *ids)
    found = scrubbed(root)
    assert not found.harmed


def test_what_readers_met_is_mended_by_name(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    listed = next(listing.manifests(root))
    before = listed.path.read_bytes()
    flip(listed.path, 150 * 8)
    with looked_after(root) as (store, records):
        assert scrubbing.mend_manifests(store, records, ["", "ab" * 16, listed.name]) == [str(listed.path)]
        assert scrubbing.mend_manifests(store, records, [listed.name]) == []
        assert scrubbing.look_for_harm(store, records) == []
    assert listed.path.read_bytes() == before
    assert read(root, ids[0]) == IMAGES[0]


def test_a_read_of_damage_marks_it_and_counts_it(
    filled: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio

    from tests.kit.image_service import image_service

    root, ids = filled
    flip(packs_of(root)[0], 5000 * 8)
    flip(next(listing.manifests(root)).path, 150 * 8)

    async def work() -> None:
        with image_service(root) as service:
            failed = 0
            for image_id in ids:
                try:
                    await service.get(image_id)
                except Damaged:
                    failed += 1
            assert failed
            await service.services.blocks.compute(lambda: None)
            met = service.store.damage_met()
            assert len(met.manifests) == 1
            service.store._index_writer.run(lambda: None)
            assert service.store.damage_met().blocks == 1

    asyncio.run(work())
    assert "not used any more" in caplog.text
    assert "will be mended" in caplog.text
    with looked_after(root) as (store, records):
        assert scrubbing.look_for_harm(store, records)


def test_very_many_bits_are_all_found_and_named_or_mended(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    rng = random.Random(4)
    files = [*packs_of(root), *(copy for each in listing.manifests(root) for copy in copies_of(each.path))]
    flips = {(path, rng.randrange(path.stat().st_size * 8)) for path in rng.choices(files, k=150)}
    for path, bit in flips:
        flip(path, bit)
    found = scrubbed(root)
    findings = found.scrubbed.looked.findings
    missed = [
        (path, bit // 8)
        for path, bit in flips
        if not any(each.file == str(path) and each.begins <= bit // 8 < each.ends for each in findings)
    ]
    assert not missed
    harmed = {image.id for image in found.harmed}
    for number, image_id in enumerate(ids):
        if image_id not in harmed:
            assert read(root, image_id) == IMAGES[number]
        else:
            with pytest.raises(BlockstoreError):
                read(root, image_id)


def test_two_scrubs_at_once_are_refused(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    refused = pytest.raises(BlockstoreError, match="scrubbed already")
    with looked_after(root) as (store, records), verified_at.alone(root, store.disk), refused:
        scrubbing.scrub_all(store, records, Scrubbing(), Silent())
