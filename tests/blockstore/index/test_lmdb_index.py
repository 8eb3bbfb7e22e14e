from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blockstore.block import Place
from blockstore.disk import Disk
from blockstore.errors import Damaged, StoreFull, StoreUnavailable
from blockstore.index.contract import PackState
from blockstore.index.lmdb_index import LmdbIndex
from blockstore.names import new_name
from tests.contracts import block_index, pack_register
from tests.contracts.block_index import OWNER, RUN, digests, fill, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAP = 1 << 26
PAGE = 4096
spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LmdbIndex]:
    opened = LmdbIndex(tmp_path, map_size=MAP)
    yield opened
    opened.close()


class TestLmdbIndex(block_index.BlockIndexContract, pack_register.PackRegisterContract):
    """LMDB keeps the contract."""


def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    index = LmdbIndex(tmp_path, map_size=MAP)
    pack, names = fill(index, 100)
    index.condemn_many(names[:10], RUN)
    index.mark_bad(names[10], place(pack, 10))
    index.advance_pack(pack, PackState.SEALED)
    before = (list(index.scan()), index.packs(), index.get_many(names))
    index.close()
    again = LmdbIndex(tmp_path, map_size=MAP)
    assert (list(again.scan()), again.packs(), again.get_many(names)) == before
    assert again.register_pack(new_name(), OWNER) == pack + 1
    again.close()


def test_a_number_is_never_given_twice_even_if_the_counter_was_lost(index: LmdbIndex) -> None:
    numbers = [index.register_pack(new_name(), OWNER) for _ in range(3)]
    index._write("test", lambda txn: txn.delete(b"next-pack", db=index._register.meta))
    assert index.register_pack(new_name(), OWNER) == numbers[-1] + 1


def fill_up(index: LmdbIndex, pack: int, names: list[bytes]) -> int:
    """Put rows until the index is full; how many of `names` were tried."""
    for first in range(0, len(names), 500):
        try:
            index.put_many({name: place(pack, n) for n, name in enumerate(names[first : first + 500], first)})
        except StoreFull:
            return first + 500
    raise AssertionError("it never became full")


def test_a_full_index_says_so_and_works_again_when_there_is_space(tmp_path: Path) -> None:
    index = LmdbIndex(tmp_path, map_size=1 << 20)
    pack, names = fill(index, 100)
    more = digests(50_000, seed=2)
    tried = fill_up(index, pack, more)
    assert index.get_many(names) == [place(pack, n) for n in range(100)]
    rows = dict(index.scan())
    assert {name: rows[name] for name in names} == {name: place(pack, n) for n, name in enumerate(names)}
    # With space again (a larger map stands for a larger disk) the same rows go in.
    index.close()
    larger = LmdbIndex(tmp_path, map_size=MAP)
    larger.put_many({name: place(pack, n) for n, name in enumerate(more[:tried])})
    assert larger.get_many(more[:tried]) == [place(pack, n) for n in range(tried)]
    larger.close()


def test_forgetting_makes_space_in_a_full_index(tmp_path: Path) -> None:
    index = LmdbIndex(tmp_path, map_size=1 << 20)
    pack = index.register_pack(new_name(), OWNER)
    more = digests(50_000, seed=2)
    tried = fill_up(index, pack, more)
    held = [name for name, row in zip(more[:tried], index.get_many(more[:tried]), strict=True) if row]
    for first in range(0, len(held) // 2, 100):
        some = held[first : first + 100]
        index.condemn_many(some, RUN)
        index.forget_many(some, RUN)
    new = digests(300, seed=3)
    index.put_many({name: place(pack, n) for n, name in enumerate(new)})
    assert all(index.get_many(new))
    index.close()


def test_the_message_of_a_full_index_says_what_to_do(tmp_path: Path) -> None:
    index = LmdbIndex(tmp_path, map_size=1 << 20)
    pack = index.register_pack(new_name(), OWNER)
    with pytest.raises(StoreFull, match=f"no space left for the index in {tmp_path}: free some space, try again"):
        index.put_many({name: place(pack, n) for n, name in enumerate(digests(50_000))})
    index.close()


def _open_cut(folder: Path, cuts: list[int], expected: list[tuple[bytes, Place]]) -> None:
    """An index that is shorter by a cut is Damaged and left so, or has all it had.

    Runs in a process of its own, whose children may die of what they read.
    """
    file = folder / "data.mdb"
    whole = file.read_bytes()
    wrong = {}
    for cut in cuts:
        file.write_bytes(whole[: len(whole) - cut])
        child = os.fork()
        if not child:
            os._exit(_verdict(folder, whole[: len(whole) - cut], expected))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            wrong[cut] = status
    print(wrong)
    sys.exit(bool(wrong))


def _verdict(folder: Path, content: bytes, expected: list[tuple[bytes, Place]]) -> int:
    try:
        index = LmdbIndex(folder, map_size=MAP)
    except Damaged as error:
        said = "make it again from the packs" in str(error)
        return 0 if said and (folder / "data.mdb").read_bytes() == content else 1
    try:
        return 0 if list(index.scan()) == expected and all(record.name for record in index.packs()) else 2
    except Exception:
        traceback.print_exc()
        return 3


@pytest.mark.parametrize("sort", ["grown", "shrunk"])
def test_a_truncated_index_is_damaged_unless_nothing_of_it_is_missing(tmp_path: Path, sort: str) -> None:
    index = LmdbIndex(tmp_path, map_size=MAP)
    _, names = fill(index, 5000)
    if sort == "shrunk":
        index.condemn_many(names[1000:], RUN)
        index.forget_many(names[1000:], RUN)
    expected = list(index.scan())
    index.close()
    size = (tmp_path / "data.mdb").stat().st_size
    cuts = [1, 5, 100, 3000, 4095, *range(PAGE, 12 * PAGE, PAGE), 5000, 9000, size // 2, size * 9 // 10, size - 100]
    judge = spawn.Process(target=_open_cut, args=(tmp_path, cuts, expected))
    judge.start()
    judge.join()
    assert judge.exitcode == 0


def test_a_file_that_is_no_index_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(Damaged, match=r"data.mdb.*the index is damaged, make it again from the packs"):
        LmdbIndex(tmp_path, map_size=MAP)


def lose_last_page(index: LmdbIndex, file: Path) -> None:
    """Leave the file as a commit may: with its last page, taken and freed, unwritten."""
    pack, names = fill(index, 2000)
    index.condemn_many(names, RUN)
    index.forget_many(names, RUN)
    for _ in range(4):
        index.advance_pack(pack, PackState.OPEN)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - PAGE)


def test_an_index_that_lost_only_its_unused_last_page_opens(tmp_path: Path) -> None:
    index = LmdbIndex(tmp_path, map_size=MAP)
    lose_last_page(index, tmp_path / "data.mdb")
    before = index.packs()
    index.close()
    again = LmdbIndex(tmp_path, map_size=MAP)
    assert list(again.scan()) == []
    assert again.packs() == before
    assert len(fill(again, 3000)[1]) == 3000
    again.close()


def _put_from_elsewhere(folder: str, seed: int, count: int) -> None:
    other = LmdbIndex(Path(folder), map_size=MAP)
    fill(other, count, seed)
    other.close()


def test_two_processes_on_one_index_see_each_others_rows_and_numbers(tmp_path: Path, index: LmdbIndex) -> None:
    others = [spawn.Process(target=_put_from_elsewhere, args=(str(tmp_path), seed, 1500)) for seed in (1, 2)]
    for other in others:
        other.start()
    mine: list[tuple[int, list[bytes]]] = []
    while any(other.is_alive() for other in others):
        mine.append(fill(index, 50, seed=100 + len(mine)))
    for other in others:
        other.join()
        assert other.exitcode == 0
    records = index.packs()
    assert len({record.number for record in records}) == len(records) == len(mine) + 2
    for seed in (1, 2):
        rows = index.get_many(digests(1500, seed))
        assert all(rows)
        assert len({row.pack for row in rows if row}) == 1
    assert all(all(index.get_many(names)) for _, names in mine)


def test_many_threads_of_one_process_share_it(index: LmdbIndex) -> None:
    with ThreadPoolExecutor(4) as threads:
        filled = list(threads.map(lambda seed: fill(index, 300, seed), range(12)))
        assert len({pack for pack, _ in filled}) == 12
        found = threads.map(lambda some: index.get_many(some[1]), filled)
        for (pack, _), rows in zip(filled, found, strict=True):
            assert rows == [place(pack, n) for n in range(300)]


class StopBeforeCommit(Disk):
    """Stops a change of the index right before its commit, once it is told to."""

    def __init__(self) -> None:
        self.stop = ""

    def step(self, what: str) -> None:
        if self.stop and what == self.stop:
            raise StoreUnavailable(f"stopped at {what}")


def test_a_change_that_is_stopped_before_its_commit_never_happened(tmp_path: Path) -> None:
    disk = StopBeforeCommit()
    index = LmdbIndex(tmp_path, disk=disk, map_size=MAP)
    pack, names = fill(index, 10)
    before = (list(index.scan()), index.packs())
    new = digests(1, seed=9)
    changes: dict[str, Callable[[], object]] = {
        "index rows": lambda: index.put_many({new[0]: place(pack, 11)}, seal=[pack]),
        "index condemn": lambda: index.condemn_many(names, RUN),
        "index move": lambda: index.move_many({names[0]: (place(pack, 0), place(pack, 20))}),
        "index bad": lambda: index.mark_bad(names[0], place(pack, 0)),
        "index register": lambda: index.advance_pack(pack, PackState.RETIRING),
    }
    for step, change in changes.items():
        disk.stop = step
        with pytest.raises(StoreUnavailable, match=step):
            change()
        disk.stop = ""
        assert (list(index.scan()), index.packs()) == before
        assert all(index.get_many(names))
    index.close()


def test_a_file_that_another_process_has_just_made_longer_is_never_made_shorter(
    tmp_path: Path, index: LmdbIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data.mdb"
    lose_last_page(index, file)
    really_truncate = os.truncate
    sizes = []
    other = spawn.Process(target=_put_from_elsewhere, args=(str(tmp_path), 1, 12_000))

    def truncate_late(path: Path, size: int) -> None:
        """Another process gets its turn right before; it may have to wait for a lock that is held here."""
        if other.pid is None:
            other.start()
            other.join(2)
            sizes.append(file.stat().st_size)
        really_truncate(path, size)

    monkeypatch.setattr(os, "truncate", truncate_late)
    index.register_pack(new_name(), OWNER)
    if other.pid is not None:
        other.join()
        sizes.append(file.stat().st_size)
    assert sizes == sorted(sizes), "pages that another process has committed were cut off"


def test_a_place_is_sixteen_bytes(index: LmdbIndex) -> None:
    largest = Place(*[(1 << 32) - 1] * 4)
    assert Place.decode(largest.encode()) == largest
    assert len(largest.encode()) == 16
