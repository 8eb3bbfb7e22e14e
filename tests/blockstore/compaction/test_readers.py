"""Readers beside compaction: whoever has a pack open reads on, whoever finds it gone asks for the place again."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import zstandard

from blockstore.errors import Missing
from blockstore.hinted_runs import WORTH_SENDING
from blockstore.packs.local import LocalPacks, PackFile
from blockstore.store import BlockStore, StoreOptions
from blockstore.stored_span import PackBytes
from tests.blockstore.compaction.scene import BLOCK, OPTIONS, half_dead, move_everything, noise, opened
from tests.kit.compacted import compacted, roots_of
from tests.kit.faulty_disk import FailingDisk
from tests.kit.images_in_store import link, manifest_blocks, read_image, write_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from blockstore.block import Place

BLOCKS = 400


def count_look_ups(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    asked: list[int] = []
    real = store.index.get_many

    def get_many(digests: Sequence[bytes], *, hidden: bool = False) -> list[Place | None]:
        asked.append(len(digests))
        return real(digests, hidden=hidden)

    monkeypatch.setattr(store.index, "get_many", get_many)
    return asked


def unpacked(stored: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True).read()


@pytest.mark.parametrize("stored", [False, True])
def test_a_reader_that_was_opened_before_reads_on_whatever_moves_meanwhile(tmp_path: Path, stored: bool) -> None:  # noqa: FBT001 - a parameter
    image = half_dead(tmp_path, BLOCKS)
    with closing(opened(tmp_path)) as store:
        reader = store.reader(image.chain)
        read = b""
        step = 50 * BLOCK
        for start in range(0, len(image.data), step):
            part = reader.read_stored(start, start + step) if stored else bytes(reader.load(start, start + step))
            read += unpacked(part) if stored else part
            move_everything(store)
        reader.close()
        assert read == image.data


def test_places_that_lead_to_packs_that_are_gone_cost_a_look_in_the_index_and_nothing_else(tmp_path: Path) -> None:
    data = noise(BLOCKS, 1)
    with closing(opened(tmp_path)) as store:
        base = write_image(store, [data])
        changed = data[: 300 * BLOCK] + noise(100, 2)
        top = write_image(store, [changed], base=[link(base)])
        flat = store.flattening([link(top), link(base)]).run()
    with closing(opened(tmp_path)) as store:
        move_everything(store)
        for chain, wanted in (
            ([link(base)], data),
            ([link(top), link(base)], changed),
            ([(flat.name, flat.digest)], changed),
        ):
            assert read_image(store, chain) == wanted
            reader = store.reader(chain)
            assert unpacked(reader.read_stored(0, reader.size)) == wanted
            assert len(reader.entries(0, BLOCKS)) == BLOCKS
            reader.close()
        assert not store.index.bad_among(manifest_blocks(store, [link(base)])), "and nothing is thought to be damaged"


def test_after_a_compaction_images_are_read_without_the_index_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = half_dead(tmp_path, BLOCKS)
    with closing(opened(tmp_path)) as store:
        done = compacted(store, [image.chain])
        assert (done.moved, done.places_renewed) == (BLOCKS, 1)
        asked = count_look_ups(store, monkeypatch)
        assert image.is_right(store)
        assert asked == []


def test_a_manifest_made_flat_over_places_that_are_gone_is_read_right(tmp_path: Path) -> None:
    image = half_dead(tmp_path, BLOCKS)
    with closing(opened(tmp_path)) as store:
        flattening = store.flattening(image.chain)
        move_everything(store)
        flat = flattening.run()
        assert read_image(store, [(flat.name, flat.digest)]) == image.data


def test_a_run_that_is_being_sent_from_its_pack_goes_on_when_the_pack_is_gone(tmp_path: Path) -> None:
    long_packs = StoreOptions(
        slab=OPTIONS.slab, slab_budget=OPTIONS.slab_budget, generation_seconds=0.05, index_map=1 << 30, threads=2
    )
    data = noise(5 * WORTH_SENDING // BLOCK, 1)
    with closing(BlockStore.open(tmp_path, long_packs)) as store:
        image = write_image(store, [data])
    with closing(BlockStore.open(tmp_path, long_packs)) as store:
        reader = store.reader([link(image)])
        with closing(reader.load_stored(0, len(data), memoryview(b""))) as span:
            assert any(isinstance(part, PackBytes) for part in span.parts)
            move_everything(store)
            here, there = socket.socketpair()
            here.setblocking(False)
            with here, there:
                sent = b""
                for part in span.parts:
                    while isinstance(part, PackBytes) and part.length:
                        count = part.send(here.fileno())
                        sent += there.recv(count, socket.MSG_WAITALL)
                        part = part.after(count)  # noqa: PLW2901 - what is left of it
                    sent += b"" if isinstance(part, PackBytes) else bytes(part)
            assert unpacked(sent) == data
        reader.close()


def test_a_reader_that_stands_still_while_blocks_move_twice_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that it has asked for places, they move before it opens the pack."""
    image = half_dead(tmp_path, 40)
    with closing(opened(tmp_path)) as store:
        real, moves = LocalPacks.open, list[bytes]()

        def late(self: LocalPacks, name: bytes) -> PackFile:
            if len(moves) < 5 and self is store.packs:
                moves.append(name)
                monkeypatch.setattr(LocalPacks, "open", real)
                move_everything(store)
                monkeypatch.setattr(LocalPacks, "open", late)
            return real(self, name)

        monkeypatch.setattr(LocalPacks, "open", late)
        assert image.is_right(store)
        assert len(moves) == 5


def test_a_pack_that_is_gone_while_its_rows_stay_is_told_of_and_not_asked_for_without_end(tmp_path: Path) -> None:
    image = half_dead(tmp_path, 40)
    with closing(opened(tmp_path)) as store:
        for record in store.index.packs():
            store.packs.path(record.name).unlink()
        with pytest.raises(Missing, match="is gone"):
            read_image(store, image.chain)


def test_a_places_file_is_renewed_only_where_something_has_moved(tmp_path: Path) -> None:
    image = half_dead(tmp_path, BLOCKS)
    with closing(opened(tmp_path)) as store:
        other = noise(300, 9)
        fresh = [link(write_image(store, [other]))]
        (before,) = tmp_path.glob(f"manifests/*/{fresh[0][0]}.places")
        stamp = before.stat().st_ino
        assert compacted(store, [image.chain, fresh]).places_renewed == 1
        assert before.stat().st_ino == stamp
        assert sorted(
            path.stem for path in tmp_path.glob("manifests/*/*.places") if path.stem in roots_of([fresh]).live
        )
        assert read_image(store, fresh) == other


@pytest.mark.parametrize("step", ["create .places", "write .places", "rename"])
def test_places_that_cannot_be_renewed_leave_nothing_and_the_image_is_read_all_the_same(
    tmp_path: Path, step: str
) -> None:
    image = half_dead(tmp_path, BLOCKS)
    disk = FailingDisk(lambda what: what == step)
    with closing(opened(tmp_path, disk)) as store:
        names = {path.name for path in tmp_path.glob("manifests/*/*")}
        disk.armed = True
        done = compacted(store, [image.chain])
        disk.armed = False
        assert disk.failures
        assert (done.moved, done.places_renewed, done.notes) == (BLOCKS, 0, [])
        assert {path.name for path in tmp_path.glob("manifests/*/*")} == names
        assert image.is_right(store)
