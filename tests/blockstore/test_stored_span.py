"""Blocks as they are stored on their way out: long runs go from their pack into a socket, and nothing stays open."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from typing import TYPE_CHECKING

import pytest
import zstandard

from blockstore.errors import Damaged
from blockstore.store import BlockStore, StoreOptions
from blockstore.stored_span import PackBytes
from tests.kit.images_in_store import link, write_image
from tests.kit.open_packs import packs_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.manifest_reader import ManifestReader

OPTIONS = StoreOptions(slab=64 * 1024, slab_budget=1 << 20, generation_seconds=0.1, index_map=1 << 30, threads=2)
LONG = random.Random(3).randbytes(3_000_000)
"""Blocks of random bytes lie one after another in one pack: a run that is checked in several parts."""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[ManifestReader]:
    store = BlockStore.open(tmp_path, OPTIONS)
    reader = store.reader([link(write_image(store, [bytes(100_000), LONG, bytes(100_000)]))])
    yield reader
    reader.close()
    store.close()


def received(run: PackBytes) -> bytes:
    """What comes out of a socket that takes little at a time."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        got, left = bytearray(), run
        while len(got) < len(run):
            with contextlib.suppress(BlockingIOError):
                while len(left):
                    left = left.after(left.send(ours.fileno()))
            got += theirs.recv(1 << 20)
    return bytes(got)


def test_a_long_run_goes_from_its_pack_into_a_socket(reader: ManifestReader) -> None:
    span = reader.load_stored(0, reader.size, memoryview(b""))
    sent = b"".join(received(part) if isinstance(part, PackBytes) else bytes(part) for part in span.parts)
    assert any(isinstance(part, PackBytes) for part in span.parts)
    assert sent == span.load() == reader.read_stored(0, reader.size)
    assert len(span) == len(sent)
    span.close()
    assert packs_open(os.getpid()) == []
    unpacked = zstandard.ZstdDecompressor().stream_reader(sent, read_across_frames=True).read()
    assert unpacked == bytes(100_000) + LONG + bytes(100_000)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_flipped_bit_in_a_long_run_is_noticed_before_any_of_it_is_sent(
    reader: ManifestReader, tmp_path: Path, share: float
) -> None:
    (pack,) = (tmp_path / "packs").glob("*/*.zst")
    with pack.open("r+b") as file:
        at = int(share * len(LONG))
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 8]))
    with pytest.raises(Damaged, match=str(pack)):
        reader.load_stored(0, reader.size, memoryview(b""))
    assert packs_open(os.getpid()) == []


def test_a_pack_that_is_cut_off_after_it_was_checked_is_an_error_and_no_endless_loop(
    reader: ManifestReader, tmp_path: Path
) -> None:
    span = reader.load_stored(0, reader.size, memoryview(b""))
    (pack,) = (tmp_path / "packs").glob("*/*.zst")
    os.truncate(pack, 1000)
    (run,) = (part for part in span.parts if isinstance(part, PackBytes))
    with pytest.raises(Damaged, match=f"{pack} ended while it was sent"):
        received(run.after(2000))
    span.close()


@pytest.mark.parametrize("room", [0, 100_000, 10_000_000])
def test_short_runs_lie_in_the_room_as_long_as_it_has_some(tmp_path: Path, room: int) -> None:
    data = b"".join(LONG[at : at + 65_536] + bytes(65_536) for at in range(0, len(LONG), 65_536)) * 8
    memory = bytearray(b"\xff" * room)
    with contextlib.closing(BlockStore.open(tmp_path / "strewn", OPTIONS)) as store:
        reader = store.reader([link(write_image(store, [data]))])
        span = reader.load_stored(0, reader.size, memoryview(memory))
        found = zstandard.ZstdDecompressor().stream_reader(span.load(), read_across_frames=True).read()
        assert found == data
        assert not any(isinstance(part, PackBytes) for part in span.parts)
        assert (memory == b"\xff" * room) == (room == 0)
        span.close()
        reader.close()
