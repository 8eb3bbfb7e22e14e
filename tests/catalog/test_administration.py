from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from blockstore import clock, listing
from blockstore.claims import FRESH
from blockstore.errors import Damaged, DataRefused
from blockstore.garbage import Collecting
from blockstore.index.contract import PackState
from blockstore.manifest_copies import copies_of
from blockstore.names import new_name
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.model.image import Upload
from catalog.model.pin import UploadKind
from catalog.usecases import administration, uploads
from tests.kit.filled_store import contents, delete, fill, flip, looked_after, read
from tests.kit.image_service import CALLER, image_service

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.usecases.administration import Collection, Stats

IMAGES = contents()
ALL = Collecting(share=0)


def collect(
    root: Path, how: Collecting = ALL, *, empty_catalog: bool = False, keep_deleted: float = 3600.0
) -> Collection:
    with looked_after(root, exclusive=True) as (store, records):
        return administration.collect(
            store, records, how, Silent(), at=clock.now(), empty_catalog=empty_catalog, keep_deleted=keep_deleted
        )


def stats(root: Path, *, garbage: bool = True) -> Stats:
    with looked_after(root) as (store, records):
        return administration.stats(store, records, Silent(), garbage=garbage)


def is_clean(root: Path) -> bool:
    with looked_after(root) as (store, records):
        return administration.verify_all(store, records, Wanted(data=True), Silent()).verified.clean


def snapshot(root: Path) -> dict[str, bytes]:
    kept = ("packs", "manifests", "journals")
    return {str(path): path.read_bytes() for kind in kept for path in root.joinpath(kind).rglob("*") if path.is_file()}


def test_stats_count_what_is_there(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    delete(root, ids[0])
    found = stats(root)
    assert found.images == {"active": 2}
    assert found.logical == sum(map(len, IMAGES[1:]))
    store = found.store
    assert store.unique.blocks == store.index.rows > 200
    assert store.unique.raw < sum(map(len, IMAGES))
    assert store.dead.blocks == store.dead.stored == 0
    assert store.packs["sealed"].files == len(list(listing.packs(root)))
    assert (store.manifests["live"].files, store.manifests["retired"].files) == (2, 1)
    assert store.garbage is not None
    assert 50 < store.garbage.blocks < 150, "what the deleted image alone had"
    assert stats(root, garbage=False).store.garbage is None


def test_nothing_is_collected_where_all_is_needed(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    before = snapshot(root)
    done = collect(root).collected
    assert (done.forgotten, done.packs_dropped, done.packs_rewritten, done.manifests_removed) == (0, 0, 0, 0)
    assert not done.notes
    assert snapshot(root) == before
    assert [read(root, image_id) for image_id in ids] == IMAGES


@pytest.mark.parametrize("how", [Collecting(), ALL])
def test_what_a_deleted_image_took_is_given_back_and_the_others_read_the_same(
    filled: tuple[Path, list[str]], how: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, ids = filled
    delete(root, ids[0], ids[2])
    before = listing.taken(root)
    expected = stats(root).store.garbage
    done = collect(root, how).collected
    assert expected is not None
    assert done.forgotten == expected.blocks
    assert done.manifests_removed == 2
    assert done.freed == pytest.approx(before - listing.taken(root), rel=0.1), "the disk has it back"
    assert done.freed > 600_000
    assert read(root, ids[1]) == IMAGES[1]
    assert is_clean(root)
    after = stats(root).store
    assert after.garbage is not None
    assert after.garbage.blocks == 0
    assert after.manifests["retired"].files == 0
    if how is ALL:
        assert after.dead.blocks == 0
    again = collect(root, how).collected
    assert (again.forgotten, again.packs_dropped, again.packs_rewritten) == (0, 0, 0)
    # So much later that nobody waits for whoever stored these blocks first.
    monkeypatch.setattr(clock, "monotonic", lambda: time.monotonic() + FRESH)
    fill(root, IMAGES)
    assert is_clean(root)


def test_a_dry_run_says_the_same_and_changes_nothing(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    delete(root, ids[0])
    before = snapshot(root)
    plan = collect(root, replace(ALL, dry_run=True)).collected
    assert snapshot(root) == before
    done = collect(root).collected
    same = ("forgotten", "forgotten_bytes", "dead", "dead_bytes", "packs_dropped", "packs_rewritten", "moved")
    assert [getattr(plan, name) for name in same] == [getattr(done, name) for name in same]
    assert plan.freed == pytest.approx(done.freed, rel=0.3)


def test_all_images_deleted_leaves_nothing(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    delete(root, *ids)
    collect(root)
    assert not list(listing.packs(root))
    assert not list(listing.manifests(root))
    with looked_after(root) as (store, _):
        assert store.index.size().rows == store.index.size().packs == 0
    assert read(root, fill(root, IMAGES[:1])[0]) == IMAGES[0]


def test_an_upload_that_died_is_given_up_and_one_that_waits_for_its_client_keeps_its_blocks(
    filled: tuple[Path, list[str]],
) -> None:
    root, ids = filled

    async def begin(kind: UploadKind) -> str:
        with image_service(root) as service:
            image_id = await service.new()
            mine = Upload(id=new_name().hex(), kind=kind, process="0" * 32)
            await service.services.database.write(
                lambda uow: uploads.begin(uow, CALLER, image_id, mine, at=clock.now())
            )
            return mine.id

    dead, waits = asyncio.run(begin(UploadKind.STREAM)), asyncio.run(begin(UploadKind.SESSION))
    with looked_after(root) as (store, _):
        digests = [name for name, _ in store.index.scan()]
        from blockstore.journal import Journal, Record

        for pin in (dead, waits):
            journal = Journal(root / "journals", store.data.store, pin, store.disk)
            journal.append([Record(number, digest) for number, digest in enumerate(digests[:50])])
            journal.close()
    delete(root, *ids)
    done = collect(root)
    assert done.given_up == 1
    assert done.collected.journals_removed == 1
    assert [listed.name for listed in listing.journals(root)] == [waits]
    with looked_after(root) as (store, records):
        assert [name for name, _ in store.index.scan()] == digests[:50]
        statuses = sorted(image.status for image in records.read(lambda uow: uow.inventory.images()))
    assert statuses == ["queued", "saving"]


def test_a_manifest_that_cannot_be_read_stops_the_collection_before_anything_is_removed(
    filled: tuple[Path, list[str]],
) -> None:
    root, ids = filled
    delete(root, ids[0])
    with looked_after(root) as (_, records):
        live = records.read(administration.roots_of).live
    path = next(listed.path for listed in listing.manifests(root) if listed.name in live)
    for copy in copies_of(path):
        flip(copy, 8 * 200)
    before = snapshot(root)
    with pytest.raises(Damaged, match=r"nothing was removed.*verify.*delete.*gc --keep-deleted 0"):
        collect(root)
    assert snapshot(root) == before


@pytest.mark.parametrize("deleted", [True, False], ids=["kept for undelete", "not deleted"])
def test_what_a_collection_says_of_such_a_manifest_helps(filled: tuple[Path, list[str]], *, deleted: bool) -> None:
    root, ids = filled
    if deleted:
        delete(root, ids[0], keep=3600.0)
    with looked_after(root) as (_, records):
        held = {image.id: image for image in records.read(lambda uow: uow.inventory.images())}
    path = next(listed.path for listed in listing.manifests(root) if listed.name == held[ids[0]].manifest)
    for copy in copies_of(path):
        flip(copy, 8 * 200)
    with pytest.raises(Damaged, match="keep-deleted 0"):
        collect(root)
    with looked_after(root) as (store, records):
        found = administration.verify_all(store, records, Wanted(), Silent())
    assert [(image.id, image.status) for image in found.harmed] == [(ids[0], "deleted" if deleted else "active")]
    if not deleted:
        delete(root, ids[0], keep=3600.0)
    with pytest.raises(Damaged, match="keep-deleted 0"):
        collect(root)
    done = collect(root, keep_deleted=0.0)
    assert (done.expired, done.collected.manifests_removed) == (1, 1)
    assert is_clean(root)


def test_a_deleted_image_that_can_be_brought_back_is_among_those_that_damage_harms(
    filled: tuple[Path, list[str]],
) -> None:
    root, ids = filled
    delete(root, ids[0], keep=3600.0)
    before = snapshot(root)
    collect(root, replace(ALL, share=1))
    assert snapshot(root) == before, "nothing that it needs is collected"
    with looked_after(root) as (_, records):
        held = {image.id: image for image in records.read(lambda uow: uow.inventory.images())}
    assert held[ids[0]].status == "deleted"
    path = next(listed.path for listed in listing.manifests(root) if listed.name == held[ids[0]].manifest)
    for copy in copies_of(path):
        flip(copy, 8 * 200)
    with looked_after(root) as (store, records):
        found = administration.verify_all(store, records, Wanted(), Silent())
    assert [(image.id, image.status) for image in found.harmed] == [(ids[0], "deleted")]


def test_a_catalog_that_knows_nothing_is_not_believed(filled: tuple[Path, list[str]], tmp_path: Path) -> None:
    root, _ = filled
    (root / "catalog.sqlite").unlink()
    with pytest.raises(DataRefused, match=r"there is no catalog .* nothing was touched"):
        collect(root)
    fill(tmp_path / "other", [])
    shutil.copy(tmp_path / "other" / "catalog.sqlite", root / "catalog.sqlite")
    with pytest.raises(DataRefused, match="restore it from a backup"):
        collect(root)
    collect(root, empty_catalog=True)
    assert not list(listing.packs(root))


def test_copies_that_no_row_names_are_counted_dead_and_freed(filled: tuple[Path, list[str]]) -> None:
    """As two processes leave them that store the same new block in the same moment."""
    root, ids = filled
    with looked_after(root) as (store, _):
        record = store.index.packs()[0]
        twin = new_name()
        number = store.index.register_pack(twin, "nobody")
        path = store.packs.path(twin)
        path.write_bytes(store.packs.path(record.name).read_bytes())
        store.index.advance_pack(number, PackState.SEALED)
    found = stats(root).store
    assert found.dead.blocks > 10
    assert found.garbage is not None
    assert found.garbage.blocks == 0
    done = collect(root, Collecting()).collected
    assert (done.dead, done.packs_dropped, done.forgotten) == (found.dead.blocks, 1, 0)
    assert stats(root).store.dead.blocks == 0
    assert [read(root, image_id) for image_id in ids] == IMAGES


def test_a_pack_with_a_damaged_block_that_is_needed_stays(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    delete(root, ids[0])
    with looked_after(root) as (store, _):
        path = store.packs.path(store.index.packs()[0].name)
    flip(path, 8 * 5000)
    done = collect(root).collected
    assert path.exists()
    assert any("verify" in note for note in done.notes)
    assert [read(root, image_id) for image_id in fill(root, IMAGES)] == IMAGES, "stored anew"
    assert not collect(root).collected.notes
    assert not path.exists(), "healed elsewhere, nobody needs it"
    assert is_clean(root)
    assert [read(root, image_id) for image_id in ids[1:]] == IMAGES[1:]


def test_what_an_interrupted_collection_condemned_is_taken_back(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    with looked_after(root) as (store, _):
        store.index.condemn_many([name for name, _ in store.index.scan()][:30], b"an older run")
    done = collect(root).collected
    assert done.forgotten == 0
    with looked_after(root) as (store, _):
        assert store.index.size().condemned == 0
    assert [read(root, image_id) for image_id in ids] == IMAGES


def test_a_pack_half_retired_is_dropped_by_the_next_run(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    with looked_after(root) as (store, _):
        number = store.index.register_pack(new_name(), "nobody")
        store.index.advance_pack(number, PackState.RETIRING)
    collect(root)
    with looked_after(root) as (store, _):
        assert store.index.pack(number) is None
    assert [read(root, image_id) for image_id in ids] == IMAGES


def test_while_a_server_runs_the_collection_says_who_is_there(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    with image_service(root), pytest.raises(DataRefused, match=r"in use by another process \(\d+ serve\)"):
        collect(root)
