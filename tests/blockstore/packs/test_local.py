from __future__ import annotations

import os
import random
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore import frames
from blockstore.block import HEADER_SIZE, Frame
from blockstore.digest import digest
from blockstore.errors import Damaged, Missing, Poisoned, StoreFull, StoreUnavailable
from blockstore.leases.flock import try_lock
from blockstore.names import new_name
from blockstore.packs import pack_format, resync
from blockstore.packs.local import LocalPacks
from blockstore.packs.pack_format import START_SIZE, TRAILER_SIZE
from tests.blockstore.packs.disks import FailingDisk

if TYPE_CHECKING:
    from pathlib import Path

STORE = bytes(range(16))


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


@pytest.fixture
def packs(tmp_path: Path, disk: FailingDisk) -> LocalPacks:
    return LocalPacks(tmp_path, STORE, disk)


def entries(*seeds: int) -> list[Frame]:
    blocks = [random.Random(seed).randbytes(1000 + seed) for seed in seeds]
    return [pack_format.make_entry(digest(block), len(block), frames.compress(block)) for block in blocks]


def found_in(path: Path) -> list[bytes]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return [part.header.digest for part in resync.walk(fd) if isinstance(part, resync.Found)]
    finally:
        os.close(fd)


def test_places_lead_to_the_entries(packs: LocalPacks) -> None:
    name = new_name()
    made = entries(1, 2, 3)
    with closing(packs.create(7, name)) as pack:
        places = [*pack.append(made[:1]), *pack.append(made[1:])]
    assert [place.pack for place in places] == [7, 7, 7]
    assert [place.offset for place in places] == [START_SIZE, places[0].end, places[1].end]
    read = packs.read_many(name, [(place.offset, place.end) for place in places])
    assert read == [entry.header + entry.data for entry in made]
    assert [place.frame_length for place in places] == [len(entry.data) for entry in made]
    assert [place.end - place.offset for place in places] == [HEADER_SIZE + len(entry.data) for entry in made]


def test_a_pack_lies_in_the_directory_of_its_names_last_digits(packs: LocalPacks, tmp_path: Path) -> None:
    name = bytes.fromhex("00" * 15 + "c4")
    packs.create(1, name).close()
    assert packs.path(name) == tmp_path / "c4" / f"{name.hex()}.zst"
    assert packs.path(name).exists()


def test_an_open_pack_is_locked_until_it_is_closed(packs: LocalPacks) -> None:
    pack = packs.create(1, new_name())
    fd = os.open(pack.path, os.O_RDWR)
    assert not try_lock(fd)
    pack.close()
    assert try_lock(fd)
    os.close(fd)


def test_a_sealed_pack_has_a_table_and_is_sound_for_plain_zstd(packs: LocalPacks) -> None:
    pack = packs.create(1, new_name())
    pack.append(entries(1, 2))
    pack.seal()
    pack.close()
    data = pack.path.read_bytes()
    begins = pack_format.table_begins(data[-TRAILER_SIZE:], len(data))
    assert begins == pack.size
    rows = pack_format.decode_table(data[begins:], "it")
    assert [row.digest for row in rows] == found_in(pack.path)
    subprocess.run(["zstd", "-t", "-q", pack.path], check=True)


def test_sealing_twice_writes_one_table(packs: LocalPacks) -> None:
    with closing(packs.create(1, new_name())) as pack:
        pack.append(entries(1))
        pack.seal()
        size = pack.path.stat().st_size
        pack.seal()
        assert pack.path.stat().st_size == size


def test_a_partial_append_is_cut_off_before_others_go_on(packs: LocalPacks, disk: FailingDisk) -> None:
    with closing(packs.create(1, new_name())) as pack:
        (first,) = pack.append(entries(1))
        disk.failing = {"write"}
        with pytest.raises(StoreFull):
            pack.append(entries(2, 3))
        assert pack.path.stat().st_size == pack.size == first.end
        disk.failing = set()
        (next_one,) = pack.append(entries(4))
        assert next_one.offset == first.end
        pack.seal()
        assert not pack.poisoned
    assert found_in(pack.path) == [entry.digest for entry in entries(1, 4)]


def test_a_pack_whose_partial_append_cannot_be_cut_off_is_given_up(packs: LocalPacks, disk: FailingDisk) -> None:
    with closing(packs.create(1, new_name())) as pack:
        disk.failing = {"write", "truncate"}
        with pytest.raises(StoreFull):
            pack.append(entries(1))
        disk.failing = set()
        assert pack.poisoned
        for step in (lambda: pack.append(entries(2)), pack.sync, pack.seal):
            with pytest.raises(Poisoned):
                step()


@pytest.mark.parametrize("step", ["sync", "sync_directory"])
def test_a_pack_is_never_synced_again_after_a_failed_sync(packs: LocalPacks, disk: FailingDisk, step: str) -> None:
    with closing(packs.create(1, new_name())) as pack:
        pack.append(entries(1))
        disk.failing = {step}
        with pytest.raises(Poisoned, match="could not be synced and is given up"):
            pack.sync()
        disk.failing = set()
        syncs = disk.syncs
        for again in (pack.sync, pack.seal, lambda: pack.append(entries(2))):
            with pytest.raises(Poisoned, match="failed earlier"):
                again()
        assert disk.syncs == syncs


def test_the_name_of_a_pack_is_synced_with_its_first_sync_only(packs: LocalPacks, disk: FailingDisk) -> None:
    with closing(packs.create(1, new_name())) as pack:
        pack.sync()
        disk.failing = {"sync_directory"}
        pack.sync()


def test_a_table_that_does_not_fit_is_cut_off_and_may_be_written_later(packs: LocalPacks, disk: FailingDisk) -> None:
    with closing(packs.create(1, new_name())) as pack:
        pack.append(entries(1, 2))
        disk.failing = {"write"}
        with pytest.raises(StoreFull):
            pack.seal()
        assert pack.path.stat().st_size == pack.size
        disk.failing = set()
        pack.seal()
    subprocess.run(["zstd", "-t", "-q", pack.path], check=True)


def test_a_pack_that_cannot_be_begun_leaves_no_file(packs: LocalPacks, disk: FailingDisk) -> None:
    name = new_name()
    disk.failing = {"write"}
    with pytest.raises(StoreFull):
        packs.create(1, name)
    assert not packs.path(name).exists()


def test_a_name_is_never_used_twice(packs: LocalPacks) -> None:
    name = new_name()
    with closing(packs.create(1, name)) as pack:
        pack.append(entries(1))
        with pytest.raises(StoreUnavailable, match="File exists"):
            packs.create(2, name)
        assert found_in(pack.path) == [entries(1)[0].digest]


def test_a_sync_after_closing_asks_nothing_of_the_disk(packs: LocalPacks, disk: FailingDisk) -> None:
    pack = packs.create(1, new_name())
    pack.seal()
    pack.close()
    pack.close()
    disk.failing = {"sync"}
    pack.sync()


def test_a_pack_that_is_gone_is_missing(packs: LocalPacks) -> None:
    with pytest.raises(Missing, match="is gone"):
        packs.read_many(new_name(), [(0, 1)])


def test_a_range_beyond_the_end_is_damage_and_names_the_file(packs: LocalPacks) -> None:
    name = new_name()
    packs.create(1, name).close()
    with pytest.raises(Damaged, match=f"{name.hex()}.zst ends at {START_SIZE}, where an entry should reach 100"):
        packs.read_many(name, [(START_SIZE, 100)])


def test_strewn_parts_of_several_packs_are_read_with_each_pack_opened_once(
    packs: LocalPacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [new_name(), new_name()]
    parts, wanted = [], []
    for name in names:
        made = entries(1, 2, 3)
        with closing(packs.create(1, name)) as pack:
            for place, entry in zip(pack.append(made), made, strict=True):
                parts.append((name, place.offset, memoryview(bytearray(place.end - place.offset))))
                wanted.append(entry.header + entry.data)
    opened: list[str] = []
    real = os.open

    def counted(path: str, flags: int) -> int:
        opened.append(str(path))
        return real(path, flags)

    monkeypatch.setattr(os, "open", counted)
    packs.read_into(parts[at] for at in (5, 0, 3, 2, 4, 1))
    assert [bytes(room) for _, _, room in parts] == wanted
    assert sorted(opened) == sorted(str(packs.path(name)) for name in names)


def test_a_part_beyond_the_end_is_damage_and_names_the_file(packs: LocalPacks) -> None:
    names = [new_name(), new_name()]
    for number, name in enumerate(names):
        packs.create(number, name).close()
    parts = [(name, START_SIZE - 4, memoryview(bytearray(length))) for name, length in zip(names, (4, 5), strict=True)]
    with pytest.raises(Damaged, match=f"{names[1].hex()}.zst ends at {START_SIZE}, where an entry should reach"):
        packs.read_into(parts)
