from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from blockstore import listing
from blockstore.data_dir import DataDir
from blockstore.disk import Disk
from blockstore.errors import Damaged, DataRefused
from blockstore.index.contract import PackState
from blockstore.index.page_format import read_meta
from blockstore.index.rebuild import Rebuilding, rebuild
from blockstore.index.row_spill import RowSpill
from blockstore.names import new_name
from blockstore.progress import Silent
from blockstore.store import BlockStore
from blockstore.verify import Wanted
from catalog.usecases import administration
from tests.blockstore.test_marks import rows
from tests.kit.bad_sectors import unreadable
from tests.kit.filled_store import MAP, contents, fill, flip, looked_after, read
from tests.kit.image_service import SMALL, image_service

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.index.rebuild import Rebuilt

IMAGES = contents()


def made_again(root: Path, *, data: bool = False, keep_old: bool = False) -> Rebuilt:
    opened = DataDir.open_made(root, Disk(), purpose="test", exclusive=True)
    with contextlib.closing(opened):
        return rebuild(opened, Rebuilding(data=data, keep_old=keep_old, map_size=MAP), Silent())


def everything(root: Path) -> dict[bytes, tuple[bytes, int]]:
    """What the index says, by names instead of numbers."""
    with looked_after(root) as (store, _):
        names = {record.number: record.name for record in store.index.packs()}
        return {digest: (names[place.pack], place.offset) for digest, place in store.index.scan()}


def test_the_index_made_again_says_what_the_old_one_said(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    before = everything(root)
    done = made_again(root)
    assert everything(root) == before
    assert (done.rows, done.duplicates, done.skipped) == (len(before), 0, [])
    assert [read(root, image_id) for image_id in ids] == IMAGES
    assert sorted(path.name for path in (root / "index").iterdir()) == ["claims", "data.mdb", "lock.mdb"]


@pytest.mark.parametrize("data", [False, True])
def test_a_lost_index_is_refused_at_the_start_and_made_again(filled: tuple[Path, list[str]], *, data: bool) -> None:
    root, ids = filled
    for path in (root / "index").iterdir():
        path.unlink()
    with pytest.raises(DataRefused, match="drystone admin rebuild-index --data"):
        BlockStore.open(root, SMALL)
    made_again(root, data=data)
    assert [read(root, image_id) for image_id in ids] == IMAGES
    fill(root, IMAGES[:1])


def test_packs_that_were_open_are_taken_in_and_sealed(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        import asyncio

        async def work() -> None:
            with image_service(tmp_path) as service:
                image_id = await service.new()
                await service.put(image_id, IMAGES[0])
                (tmp_path / "id").write_text(image_id, encoding="utf-8")
                os._exit(0)

        asyncio.run(work())
    os.waitpid(child, 0)
    image_id = (tmp_path / "id").read_text(encoding="utf-8")
    (tmp_path / "id").unlink()
    (tmp_path / "index" / "data.mdb").unlink()
    with max(tmp_path.glob("packs/*/*.zst"), key=lambda path: path.name).open("ab") as pack:
        pack.write(b"torn")
    done = made_again(tmp_path)
    assert done.adopted >= 1
    with looked_after(tmp_path) as (store, _):
        assert {record.state for record in store.index.packs()} == {PackState.SEALED}
    assert read(tmp_path, image_id) == IMAGES[0]


def test_a_pack_whose_table_is_damaged_is_walked_and_damaged_blocks_are_left_out(
    filled: tuple[Path, list[str]],
) -> None:
    root, ids = filled
    before = everything(root)
    pack = max(root.glob("packs/*/*.zst"), key=lambda path: path.name)
    flip(pack, (pack.stat().st_size - 30) * 8)
    flip(pack, 3000 * 8)
    done = made_again(root)
    assert len(done.skipped) == 2
    assert all(str(pack) in skipped for skipped in done.skipped)
    assert set(before) - set(everything(root)) == {
        digest for digest, place in before.items() if place == (bytes.fromhex(pack.stem), 68)
    }
    with looked_after(root) as (store, records):
        harmed = administration.images_missing_blocks(store, records, Silent())
    assert [image.id for image in harmed] == ids[-1:]
    assert [read(root, image_id) for image_id in ids[:-1]] == IMAGES[:-1]
    assert fill(root, IMAGES[-1:])
    assert read(root, ids[-1]) == IMAGES[-1], "healed by the same bytes"


@pytest.mark.parametrize("where", ["its table", "an entry", "its table and an entry"])
def test_what_the_disk_cannot_read_keeps_nothing_else_from_the_index(
    filled: tuple[Path, list[str]], where: str
) -> None:
    root, _ = filled
    before = everything(root)
    path = max(listing.packs(root), key=lambda listed: listed.size).path
    size = path.stat().st_size
    with contextlib.ExitStack() as bad:
        if "its table" in where:
            bad.enter_context(unreadable(path, size - 30, size))
        if "an entry" in where:
            bad.enter_context(unreadable(path, 5000, 5010))
        done = made_again(root, data=where == "an entry")
        assert any(str(path) in skipped for skipped in done.skipped)
        assert len(everything(root)) == len(before) - ("an entry" in where)


def test_of_several_copies_the_newest_counts_unless_data_shows_that_it_is_damaged(
    filled: tuple[Path, list[str]],
) -> None:
    root, ids = filled
    first = min(root.glob("packs/*/*.zst"), key=lambda path: path.name)
    with looked_after(root) as (store, _):
        twin = new_name()
        path = store.packs.path(twin)
    # The same entries in a pack of another name: its start frame says so, and must not keep them out.
    path.write_bytes(first.read_bytes())
    flip(path, 3000 * 8)
    done = made_again(root)
    assert done.duplicates > 10
    assert done.skipped
    assert [read(root, image_id) for image_id in ids] == IMAGES
    newer = {name for name, _ in everything(root).values()}
    assert twin in newer


def test_what_is_no_pack_is_skipped_and_told(filled: tuple[Path, list[str]]) -> None:
    root, ids = filled
    (root / "packs" / "ab" / "notes.zst").write_bytes(b"mine")
    (root / "packs" / "ab" / f"{'ab' * 16}.zst").write_bytes(b"nothing")
    done = made_again(root)
    assert len(done.skipped) >= 2
    assert [read(root, image_id) for image_id in ids] == IMAGES


def test_the_old_index_may_be_kept(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    old = (root / "index" / "data.mdb").read_bytes()
    done = made_again(root, keep_old=True)
    assert done.old is not None
    [kept] = (root / "index").glob("data.mdb.old-*")
    assert str(kept) == done.old
    assert kept.read_bytes() == old


def test_what_an_interrupted_run_left_is_removed(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    (root / "index" / "rebuild-left").mkdir()
    (root / "index" / "rebuild-left" / "00.rows").write_bytes(b"x")
    made_again(root)
    assert not (root / "index" / "rebuild-left").exists()


def test_with_a_server_there_it_is_refused(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    with image_service(root), pytest.raises(DataRefused, match=r"in use by another process \(\d+ serve\)"):
        made_again(root)


def test_after_an_end_by_a_damaged_page_the_start_is_refused_until_the_index_is_made_again(
    filled: tuple[Path, list[str]],
) -> None:
    root, ids = filled
    file = root / "index" / "data.mdb"
    with file.open("rb") as opened:
        # One that is in use: which are, depends on how many transactions filled the index.
        page = read_meta(opened.fileno(), None).main.root
    flip(file, (4096 * page + 12) * 8 + 5)
    (root / "index" / "in-use").write_bytes(b"opened\n")
    for _ in range(2):
        with pytest.raises(Damaged, match="drystone admin rebuild-index --data"):
            BlockStore.open(root, SMALL)
    made_again(root)
    assert [read(root, image_id) for image_id in ids] == IMAGES
    with looked_after(root) as (store, records):
        assert administration.verify_all(store, records, Wanted(data=True), Silent()).verified.clean


@pytest.mark.parametrize("held", [3, 1 << 20])
def test_rows_come_back_in_order_with_the_newest_of_equal_ones_first(tmp_path: Path, held: int) -> None:
    spill = RowSpill(tmp_path, held=held)
    digests = [bytes([number * 37 % 256]) + bytes(31) for number in range(20)]
    for age in range(3):
        batch = rows(digests)
        batch["offset"] = age
        spill.add(batch)
    found = [(row["digest"].tobytes(), int(row["offset"])) for bucket in spill.buckets() for row in bucket]
    assert found == [(digest, age) for digest in sorted(digests) for age in (2, 1, 0)]


def test_the_listing_of_packs_is_what_is_there(filled: tuple[Path, list[str]]) -> None:
    root, _ = filled
    assert sorted(listed.path for listed in listing.packs(root)) == sorted(root.glob("packs/*/*.zst"))
