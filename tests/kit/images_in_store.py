"""Writing and reading images in a bare block store, synchronously: for tests without a catalog."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.digest import digest
from blockstore.manifest_copies import check_copy, copies_of
from blockstore.names import new_name
from blockstore.packs import pack_format
from blockstore.pipeline.taps import HashTap
from blockstore.roots import path_of
from chunker.cutting import CutKind, Cutting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from blockstore.manifest_writer import ManifestWriter
    from blockstore.pipeline.slabs import Slab, SlabPool
    from blockstore.store import BlockStore
    from blockstore.write_result import WriteResult
    from catalog.model.manifest import Manifest


def write_image(
    store: BlockStore,
    pieces: Iterable[bytes],
    *,
    block_size: int = 4096,
    cutting: Cutting | None = None,
    base: Sequence[tuple[str, bytes]] = (),
    pin: str = "",
) -> WriteResult:
    """Put pieces through the pipeline as a sender would, slab by slab; `cutting` replaces fixed `block_size`."""
    cutting = cutting or Cutting(CutKind.FIXED, block_size)
    share = store.slabs.admit(store.slab_size(cutting))
    assert share is not None
    writer = store.writer(
        pin or new_name().hex(), share, cutting=cutting, base=base, taps=[HashTap("sha512"), HashTap("md5")]
    )
    try:
        slab = acquire(store.slabs, writer)
        filled = slab.head
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                part = rest[: len(slab.view) - filled]
                slab.view[filled : filled + len(part)] = part
                filled += len(part)
                rest = rest[len(part) :]
                if filled == len(slab.view):
                    writer.submit(slab, filled)
                    slab = acquire(store.slabs, writer)
                    filled = slab.head
        writer.submit(slab, filled, last=True)
        return writer.finish().result(30)
    except BaseException:
        writer.abort().result(30)
        raise


def acquire(pool: SlabPool, writer: ManifestWriter) -> Slab:
    """A slab, waited for."""
    while True:
        freed = threading.Event()
        pool.when_free(freed.set)
        slab = writer.acquire()
        if slab is not None:
            return slab
        assert freed.wait(30), "no slab came back"


def link(result: WriteResult) -> tuple[str, bytes]:
    """A written image as a link of a chain."""
    return result.manifest.name, result.manifest.digest


def read_image(store: BlockStore, chain: Sequence[tuple[str, bytes]]) -> bytes:
    """All of an image's bytes."""
    reader = store.reader(chain)
    try:
        return b"".join(reader.read(0, reader.size))
    finally:
        reader.close()


def manifest_blocks(store: BlockStore, chain: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """The digest of every block of an image."""
    reader = store.reader(chain)
    try:
        return reader.digests()
    finally:
        reader.close()


def every_row_has_its_entry(store: BlockStore | BareStore) -> None:
    """What is left over may be garbage in packs, never a row without its block."""
    names = {record.number: record.name for record in store.index.packs()}
    for name, place in store.index.scan():
        (entry,) = store.packs.read_many(names[place.pack], [(place.offset, place.end)])
        header = pack_format.decode_header(entry[:HEADER_SIZE])
        assert header is not None
        assert header.digest == name
        assert digest(frames.decompress(entry[HEADER_SIZE:], place.raw_length)) == name


def both_copies_are_right(root: Path, manifest: Manifest) -> None:
    """The store has the manifest twice, and every byte of both is as it should be."""
    for copy in copies_of(path_of(root, manifest.id)):
        assert copy.exists(), f"{copy} is not there"
        assert not list(check_copy(copy, manifest.digest)), f"{copy} is damaged"
