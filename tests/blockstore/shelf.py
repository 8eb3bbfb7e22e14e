"""A shelf of manifests of small images, right ones and forged ones."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blockstore import journal, manifest_format
from blockstore.digest import digest
from blockstore.disk import Disk
from blockstore.manifest import ManifestFile, open_chain
from blockstore.manifest_builder import ManifestBuilder, path_of
from blockstore.manifest_format import (
    DIRECTORY_ROW,
    HEADER_SIZE,
    NO_BASE,
    Header,
)
from blockstore.resolve import Resolver
from chunker.cutting import CutKind, Cutting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blockstore.journal import Record

STORE = bytes(range(16))
BLOCK = 4096
BASE_HEADER = Header(
    store=STORE, block_size=BLOCK, size=10, base=NO_BASE, depth=0, entries=1, holes=0, leaves=1, directory=164
)


def records_in(data: bytes) -> list[Record]:
    """What a journal with these bytes has."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        pieces = list(journal.read(Path(file.name), 0))
    return [journal.Record(int(row["number"]), row["digest"].tobytes()) for piece in pieces for row in piece]


def name(number: int) -> bytes:
    return digest(number.to_bytes(8, "big"))


class Shelf:
    """Manifests of small images; each is written by the builder and kept as (path, digest)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self, size: int, listed: Mapping[int, bytes], base: tuple[Path, bytes] | None = None, block: int = BLOCK
    ) -> tuple[Path, bytes]:
        below = ManifestFile(*base) if base else None
        builder = ManifestBuilder(self.folder, STORE, Cutting(CutKind.FIXED, block), below, Disk())
        for number, what in sorted(listed.items()):
            builder.add(number, [what], frozenset())
        built = builder.finish(size)
        if below:
            below.close()
        return path_of(self.folder, built.name), built.digest

    @staticmethod
    def blocks(*chain: tuple[Path, bytes]) -> list[bytes]:
        """The digests of the image that a chain, newest first, is."""
        opened = open_chain(chain)
        try:
            return Resolver(opened).digests(0, opened[0].header.blocks)
        finally:
            for manifest in opened:
                manifest.close()


def forge(path: Path, header: Header, leaves: list[tuple[int, list[tuple[int, bytes]]]]) -> tuple[Path, bytes]:
    """A manifest whose digests are right and whose contents may be anything."""
    body = b""
    directory = np.zeros(len(leaves), dtype=DIRECTORY_ROW)
    for at, (key, rows) in enumerate(leaves):
        leaf = b"".join(struct.pack("<I", number) + what for number, what in rows)
        directory[at] = (key, HEADER_SIZE + len(body), len(rows), 0, np.frombuffer(digest(leaf), dtype=np.uint8))
        body += leaf
    head = manifest_format.encode_header(replace(header, leaves=len(leaves), directory=HEADER_SIZE + len(body)))
    path.write_bytes(head + body + directory.tobytes())
    return path, manifest_format.manifest_digest(head, directory.tobytes())
