from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from blockstore import listing
from blockstore.disk import Disk
from blockstore.errors import Damaged, Missing, StoreFull
from blockstore.manifest import ManifestFile, second_of
from blockstore.manifest_copies import HALF_MADE, check_copy, copies_of, mend, remove_half_made
from blockstore.manifest_format import HEADER_SIZE
from blockstore.store import BlockStore
from chunker.cutting import Cutting
from tests.kit.filled_store import MAP, flip
from tests.kit.images_in_store import link, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from typing_extensions import Buffer

from blockstore.store import StoreOptions

BLOCK = 4096
DATA = random.Random(5).randbytes(1500 * BLOCK + 7)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    with closing(BlockStore.open(tmp_path, StoreOptions(index_map=MAP))) as store:
        yield store


def manifest_in(root: Path) -> Path:
    return next(listing.manifests(root)).path


def wrong(path: Path, digest: bytes) -> bool:
    return bool(list(check_copy(path, digest)))


@pytest.mark.parametrize("cutting", ["fixed:4KiB", "content-defined:16KiB"])
def test_each_manifest_is_kept_twice_in_files_of_their_own(store: BlockStore, tmp_path: Path, cutting: str) -> None:
    result = write_image(store, [DATA], cutting=Cutting.parse(cutting))
    first, second = copies_of(manifest_in(tmp_path))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_ino != second.stat().st_ino
    assert [listed.name for listed in listing.seconds(tmp_path)] == [result.manifest.name]
    store.discard(result.manifest.name)
    assert not [path for path in (tmp_path / "manifests").rglob("*") if path.is_file()]


@pytest.mark.parametrize("cutting", ["fixed:4KiB", "content-defined:16KiB"])
@pytest.mark.parametrize("copy", [0, 1])
def test_a_damaged_copy_is_read_from_the_other_and_mended(
    store: BlockStore, tmp_path: Path, cutting: str, copy: int
) -> None:
    result = write_image(store, [DATA], cutting=Cutting.parse(cutting))
    both, digest = copies_of(manifest_in(tmp_path)), result.manifest.digest
    right = both[0].read_bytes()
    for byte in (3, 60, 200, len(right) // 2, len(right) - 3):
        flip(both[copy], byte * 8)
        assert wrong(both[copy], digest)
        assert not wrong(both[1 - copy], digest)
        assert read_image(store, [link(result)]) == DATA
        mend(both[0], digest, both[copy], Disk())
        assert both[copy].read_bytes() == right


def test_a_copy_that_is_gone_or_short_is_made_again(store: BlockStore, tmp_path: Path) -> None:
    result = write_image(store, [DATA], block_size=BLOCK)
    first, second = copies_of(manifest_in(tmp_path))
    right = first.read_bytes()
    for copy in (first, second):
        copy.unlink()
        assert read_image(store, [link(result)]) == DATA
        mend(first, result.manifest.digest, copy, Disk())
        assert copy.read_bytes() == right
        copy.write_bytes(right[:-1])
        assert read_image(store, [link(result)]) == DATA
        mend(first, result.manifest.digest, copy, Disk())
        assert copy.read_bytes() == right


def names_in(path: Path, digest: bytes) -> bytes:
    with closing(ManifestFile(path, digest, lambda *_: None)) as manifest:
        return b"".join(names.tobytes() for names in manifest.digests())


@pytest.mark.parametrize("byte", [0, 1, 3, 20], ids=["number", "number, too", "number beyond all", "name"])
def test_all_names_come_out_though_a_leaf_among_those_read_at_once_is_damaged(
    store: BlockStore, tmp_path: Path, byte: int
) -> None:
    result = write_image(store, [DATA], block_size=BLOCK)
    path, digest = manifest_in(tmp_path), result.manifest.digest
    right = names_in(path, digest)
    assert len(right) == 1501 * 32
    for row in (0, 1023, 1024, 1500):
        at = 8 * (HEADER_SIZE + 36 * row + byte)
        flip(path, at)
        assert names_in(path, digest) == right
        flip(path, at)
    path.write_bytes(path.read_bytes()[:HEADER_SIZE])
    assert names_in(path, digest) == right


def test_a_leaf_of_each_copy_may_be_damaged(store: BlockStore, tmp_path: Path) -> None:
    """The manifest has two leaves; each copy has the other one right."""
    result = write_image(store, [DATA], block_size=BLOCK)
    first, second = copies_of(manifest_in(tmp_path))
    right = first.read_bytes()
    flip(first, 8 * 300)
    flip(second, 8 * (128 + 36 * 1024 + 50))
    assert read_image(store, [link(result)]) == DATA
    for copy in (first, second):
        mend(first, result.manifest.digest, copy, Disk())
    assert first.read_bytes() == second.read_bytes() == right


def test_what_is_wrong_in_both_copies_is_refused_and_not_mended(store: BlockStore, tmp_path: Path) -> None:
    result = write_image(store, [DATA], block_size=BLOCK)
    first, second = copies_of(manifest_in(tmp_path))
    for copy in (first, second):
        flip(copy, 8 * 300)
    before = first.read_bytes(), second.read_bytes()
    with pytest.raises(Damaged, match=str(first)):
        read_image(store, [link(result)])
    with pytest.raises(Damaged):
        mend(first, result.manifest.digest, first, Disk())
    assert (first.read_bytes(), second.read_bytes()) == before
    assert not list((tmp_path / "manifests").rglob(f".*{HALF_MADE}"))
    first.unlink()
    second.unlink()
    with pytest.raises(Missing):
        read_image(store, [link(result)])


def test_whoever_reads_is_told_once_which_copy_is_wrong(store: BlockStore, tmp_path: Path) -> None:
    result = write_image(store, [DATA], block_size=BLOCK)
    path = manifest_in(tmp_path)
    flip(path, 8 * 300)
    told: list[str] = []
    with closing(ManifestFile(path, result.manifest.digest, lambda file, why: told.append(f"{file}: {why}"))) as opened:
        assert not told
        for _ in range(3):
            opened.leaf_at(0)
            opened.leaf_at(1)
    assert len(told) == 1
    assert str(path) in told[0]


class _HeldUp(Disk):
    """Stands still in the middle of its second write, until it may go on."""

    def __init__(self) -> None:
        self.writes = 0
        self.reached = threading.Event()
        self.go = threading.Event()

    def write(self, fd: int, buffers: Sequence[Buffer], at: int, what: str) -> int:
        self.writes += 1
        if self.writes == 2:
            self.reached.set()
            assert self.go.wait(20)
        return super().write(fd, buffers, at, what)


class _OvertakenBeforeItsSync(Disk):
    """Another begins the same work before this one's sync."""

    def __init__(self, other: Callable[[], object]) -> None:
        self.other = other

    def sync(self, fd: int, what: str) -> None:
        self.other()
        super().sync(fd, what)


def test_two_who_mend_one_copy_at_once_never_put_a_torn_file_in_its_place(store: BlockStore, tmp_path: Path) -> None:
    result = write_image(store, [DATA], block_size=BLOCK)
    first, second = copies_of(manifest_in(tmp_path))
    right = first.read_bytes()
    flip(second, 8 * 300)
    held_up = _HeldUp()
    with ThreadPoolExecutor(1) as threads:
        work = partial(mend, first, result.manifest.digest, second)

        def begin() -> None:
            begun.append(threads.submit(work, held_up))
            assert held_up.reached.wait(20)

        begun: list[Future[None]] = []
        try:
            work(_OvertakenBeforeItsSync(begin))
            assert second.read_bytes() == right
        finally:
            held_up.go.set()
        begun[0].result()
    assert second.read_bytes() == right
    assert not list((tmp_path / "manifests").rglob(f".*{HALF_MADE}"))


class _NoRoomForASecond(Disk):
    def write(self, fd: int, buffers: Sequence[Buffer], at: int, what: str) -> int:
        if what.endswith(".second"):
            raise StoreFull(f"no space left at {what}")
        return super().write(fd, buffers, at, what)


def test_without_room_for_the_second_copy_nothing_is_acknowledged_and_nothing_left(tmp_path: Path) -> None:
    with closing(BlockStore.open(tmp_path, StoreOptions(index_map=MAP), disk=_NoRoomForASecond())) as store:
        with pytest.raises(StoreFull):
            write_image(store, [DATA])
        assert not [path for path in (tmp_path / "manifests").rglob("*") if path.is_file()]


def test_what_a_killed_mending_left_is_removed(store: BlockStore, tmp_path: Path) -> None:
    result = write_image(store, [DATA], block_size=BLOCK)
    path = manifest_in(tmp_path)
    half = path.with_name(f".{second_of(path).name}-{'ab' * 16}{HALF_MADE}")
    half.write_bytes(b"half")
    mend(path, result.manifest.digest, second_of(path), Disk())
    remove_half_made(tmp_path / "manifests", Disk())
    assert not half.exists()
    assert read_image(store, [link(result)]) == DATA
