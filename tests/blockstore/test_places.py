"""Places beside a manifest: reads need no index while they are right, and are right whatever stands there."""

from __future__ import annotations

import errno
import itertools
import os
import random
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zstandard

from blockstore.disk import Disk
from blockstore.errors import Damaged
from blockstore.names import new_name
from blockstore.places import MAGIC, WORTH_IT, PlacesFile, PlacesWriter, beside
from blockstore.store import BlockStore, StoreOptions
from chunker.cutting import CutKind, Cutting
from tests.kit.faulty_disk import FailingDisk
from tests.kit.images_in_store import acquire, link, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blockstore.block import Place
    from blockstore.write_result import WriteResult

BLOCK = 4096
CUTTING = Cutting(CutKind.FIXED, BLOCK)
OPTIONS = StoreOptions(slab=64 * 1024, slab_budget=1 << 20, generation_seconds=0.1, index_map=1 << 30, threads=2)
BLOCKS = 1500  # more than a leaf
DATA = b"".join(bytes(BLOCK) if number % 7 == 0 else random.Random(number).randbytes(BLOCK) for number in range(BLOCKS))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    opened = BlockStore.open(tmp_path, OPTIONS)
    yield opened
    opened.close()


def places(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "manifests").glob("*/*.places"))


def count_look_ups(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    asked: list[int] = []
    real = store.index.get_many

    def get_many(digests: Sequence[bytes], *, hidden: bool = False) -> list[Place | None]:
        asked.append(len(digests))
        return real(digests, hidden=hidden)

    monkeypatch.setattr(store.index, "get_many", get_many)
    return asked


def test_an_image_is_read_without_the_index(store: BlockStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = write_image(store, [DATA])
    again = write_image(store, [DATA])  # all held: its places come from look-ups
    asked = count_look_ups(store, monkeypatch)
    assert len(places(tmp_path)) == 2
    assert read_image(store, [link(image)]) == read_image(store, [link(again)]) == DATA
    assert asked == []


def test_an_increment_and_its_base_are_read_without_the_index(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_image(store, [DATA])
    changed = random.Random(-1).randbytes(WORTH_IT * BLOCK) + DATA[WORTH_IT * BLOCK :]
    top = write_image(store, [changed], base=[link(base)])
    asked = count_look_ups(store, monkeypatch)
    assert read_image(store, [link(top), link(base)]) == changed
    assert asked == []


def test_a_chain_of_a_few_blocks_each_is_read_without_the_index(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(DATA)
    chain = [link(write_image(store, [DATA]))]
    for number in range(1, 6):
        # The first leaf of each lists holes alone.
        data[number * BLOCK : (number + 1) * BLOCK] = bytes(BLOCK)
        data[(1024 + number) * BLOCK] ^= 1
        chain = [link(write_image(store, [bytes(data)], base=chain)), *chain]
    asked = count_look_ups(store, monkeypatch)
    assert read_image(store, chain) == data
    assert asked == []


def test_blocks_strewn_over_packs_are_read_as_if_they_lay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, chain = bytearray(DATA), list[tuple[str, bytes]]()
    for level in range(4):
        # A pack is sealed when its store is closed.
        with closing(BlockStore.open(tmp_path, OPTIONS)) as store:
            chain = [link(write_image(store, [bytes(data)], base=chain)), *chain]
        for number in random.Random(level).sample(range(BLOCKS), 300):
            data[number * BLOCK : (number + 1) * BLOCK] = random.Random(level + number).randbytes(BLOCK - 5) + b"later"
    with closing(BlockStore.open(tmp_path, OPTIONS)) as store:
        chain = [link(write_image(store, [bytes(data)], base=chain)), *chain]
        asked = count_look_ups(store, monkeypatch)
        assert read_image(store, chain) == data
        reader = store.reader(chain)
        stored = reader.read_stored(0, reader.size)
        reader.close()
        assert zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True).read() == data
        assert asked == []


def huge(path: Path) -> bytes:
    """Places of entries as long as the field can say, of which zstd makes little."""
    made = path.with_name(f"{new_name().hex()}.places")
    with closing(PlacesWriter(made, Disk())) as writer:
        for rows in (1024, BLOCKS - 1024):
            writer.add(np.tile(np.array([1, 0, 2**32 - 1, 2**32 - 1], dtype=np.uint32), (rows, 1)))
        writer.finish()
    data = made.read_bytes()
    made.unlink()
    return data


@pytest.mark.parametrize(
    "what", ["gone", "empty", "short", "long", "random", "another image's", "another table", "huge"]
)
def test_whatever_stands_there_the_bytes_are_right(store: BlockStore, tmp_path: Path, what: str) -> None:
    image = write_image(store, [DATA])
    (path,) = places(tmp_path)
    right = path.read_bytes()
    write_image(store, [DATA[::-1]])
    (other,) = (each for each in places(tmp_path) if each != path)
    wrong = {
        "empty": b"",
        "short": right[: len(right) // 3],
        "long": right + b"\0",
        "random": MAGIC + random.Random(5).randbytes(len(right)),
        "another image's": other.read_bytes(),
        "another table": right[:-8] + right[-4:] + right[-8:-4],
        "huge": huge(path),
    }
    path.unlink() if what == "gone" else path.write_bytes(wrong[what])
    assert read_image(store, [link(image)]) == DATA
    assert list(store.index.bad_among(store.reader([link(image)]).digests())) == [], "the blocks are not to blame"


def test_places_that_cannot_be_read_keep_nobody_from_the_image(
    store: BlockStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [write_image(store, [DATA]), write_image(store, [DATA[::-1]])]
    begins, real = len(MAGIC), os.pread

    def pread(fd: int, count: int, at: int) -> bytes:
        if at >= begins and Path(f"/proc/self/fd/{fd}").readlink().suffix == ".places":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, count, at)

    monkeypatch.setattr(os, "pread", pread)
    assert read_image(store, [link(images[0])]) == DATA
    for path in places(tmp_path):
        path.unlink()
        path.mkdir()
    assert read_image(store, [link(images[1])]) == DATA[::-1]


@pytest.mark.parametrize(("step", "nth"), [("create .places", 1), *(("write .places", nth) for nth in range(1, 5))])
def test_a_disk_that_refuses_them_refuses_no_upload_and_keeps_none(tmp_path: Path, step: str, nth: int) -> None:
    times = itertools.count(1)
    disk = FailingDisk(lambda what: what == step and next(times) == nth)
    store = BlockStore.open(tmp_path, OPTIONS, disk=disk)
    disk.armed = True
    image: WriteResult = write_image(store, [DATA])
    assert disk.failures
    assert places(tmp_path) == []
    assert read_image(store, [link(image)]) == DATA
    store.close()


def test_a_small_image_has_none_and_an_upload_given_up_leaves_none(store: BlockStore, tmp_path: Path) -> None:
    write_image(store, [random.Random(0).randbytes((WORTH_IT - 1) * BLOCK)])
    share = store.slabs.admit(store.slab_size(CUTTING))
    assert share is not None
    writer = store.writer(new_name().hex(), share, cutting=CUTTING)
    for _ in range(BLOCKS // 16):
        slab = acquire(store.slabs, writer)
        slab.view[:] = random.Random(1).randbytes(len(slab.view))
        writer.submit(slab, len(slab.view))
    writer.abort().result(30)
    assert places(tmp_path) == []


@pytest.mark.parametrize("seed", range(20))
def test_places_are_read_as_they_were_written(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    leaves = [rng.integers(0, 2**32, (rng.integers(1, 1025), 4), dtype=np.uint32) for _ in range(rng.integers(1, 9))]
    for leaf in leaves:
        leaf[rng.random(len(leaf)) < rng.choice([0, 0.5, 1])] = 0
    with closing(PlacesWriter(beside(tmp_path / "x.manifest"), Disk())) as writer:
        for leaf in leaves:
            writer.add(leaf)
        writer.finish()
    with closing(PlacesFile(tmp_path / "x.manifest", len(leaves))) as found:
        for at, leaf in reversed(list(enumerate(leaves))):
            assert (found.leaf(at, len(leaf)) == leaf).all()
            assert not found.leaf(at, len(leaf) + 1).any(), "places of other rows are none"


def test_each_place_is_known_or_not_whichever_bit_is_flipped(tmp_path: Path) -> None:
    leaves = [np.array([[1, at * 1000, 900, BLOCK] for at in range(rows)], dtype=np.uint32) for rows in (40, 3)]
    path = beside(tmp_path / "x.manifest")
    with closing(PlacesWriter(path, Disk())) as writer:
        for leaf in leaves:
            writer.add(leaf)
        writer.finish()
    right = path.read_bytes()
    for bit in range(len(right) * 8):
        wrong = bytearray(right)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(wrong)
        with closing(PlacesFile(tmp_path / "x.manifest", len(leaves))) as found:
            for at, leaf in enumerate(leaves):
                known = found.leaf(at, len(leaf))
                assert not known.any() or (known == leaf).all()


def test_blocks_that_follow_one_another_have_places_of_a_few_bytes(store: BlockStore, tmp_path: Path) -> None:
    rng = random.Random(3)
    data = b"".join(rng.randbytes(rng.randrange(BLOCK // 2)).ljust(BLOCK, b"x") for _ in range(BLOCKS))
    write_image(store, [data])
    (path,) = places(tmp_path)
    assert path.stat().st_size < 4 * BLOCKS


def test_an_increment_of_a_few_blocks_has_no_room_kept_for_more(store: BlockStore, tmp_path: Path) -> None:
    base = write_image(store, [DATA])
    changed = bytearray(DATA)
    for number in (5, 700, 1400):
        changed[number * BLOCK] ^= 1
    top = write_image(store, [bytes(changed)], base=[link(base)])
    (path,) = (each for each in places(tmp_path) if each.stem == link(top)[0])
    assert path.stat().st_size < 120


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    file.write_bytes(data)


def test_what_is_stored_is_read_in_long_pieces_and_right_for_any_spans(store: BlockStore) -> None:
    image = write_image(store, [DATA, b"tail"])
    shifted = DATA[: 40 * BLOCK][::-1] + DATA + b"tail"
    again = write_image(store, [shifted], cutting=Cutting(CutKind.CONTENT_DEFINED, 16384))
    for one, data in ((image, DATA + b"tail"), (again, shifted)):
        reader = store.reader([link(one)])
        for step in (reader.size, 1 << 20, 5000, 100_000):
            spans = [(at, min(at + step, reader.size)) for at in range(0, reader.size, step)]
            stored = b"".join(reader.read_stored(*span) for span in spans)
            found = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True).read()
            assert found == data, step
        reader.close()


def test_whatever_lay_in_the_room_before_only_the_image_is_there_afterwards(store: BlockStore) -> None:
    data = DATA + bytes(5 * BLOCK) + b"tail"
    shifted = data[: 40 * BLOCK][::-1] + data
    images = [
        (write_image(store, [data]), data),
        (write_image(store, [shifted], cutting=Cutting(CutKind.CONTENT_DEFINED, 16384)), shifted),
    ]
    for image, whole in images:
        reader = store.reader([link(image)])
        for step in (len(whole), 1 << 20, 100_000, 5000):
            for start in range(0, len(whole), step):
                stop = min(start + step, len(whole))
                room = bytearray(b"\xff" * (stop - start))
                reader.load_into(start, stop, memoryview(room))
                assert room == whole[start:stop], (start, stop)
        reader.close()


@pytest.mark.parametrize("at", [80, 90, 500])
def test_a_flipped_bit_in_a_frame_is_never_read(store: BlockStore, tmp_path: Path, at: int) -> None:
    image = write_image(store, [DATA])
    place = store.index.get_many([next(name for name in store.reader([link(image)]).digests() if any(name))])[0]
    assert place is not None
    (pack,) = (tmp_path / "packs").glob("*/*.zst")
    flip(pack, place.offset + at)
    reader = store.reader([link(image)])
    with pytest.raises(Damaged, match=str(pack)):
        reader.load(0, reader.size)
    assert reader.load(len(DATA) // 2, len(DATA)) == DATA[len(DATA) // 2 :]
    reader.close()


@pytest.mark.parametrize("at", [0, 9, 12, 20, 40, 60, 70, 75, 76, 500])
def test_a_flipped_bit_in_an_entry_is_never_sent_as_stored(store: BlockStore, tmp_path: Path, at: int) -> None:
    image = write_image(store, [DATA])
    place = store.index.get_many([next(name for name in store.reader([link(image)]).digests() if any(name))])[0]
    assert place is not None
    (pack,) = (tmp_path / "packs").glob("*/*.zst")
    flip(pack, place.offset + at)
    reader = store.reader([link(image)])
    with pytest.raises(Damaged):
        reader.read_stored(0, reader.size)
    reader.close()
