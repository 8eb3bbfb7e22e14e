"""A small data directory with every kind of image, to be damaged; and what reading its images gives: right, or why not.

Nothing in here is a check.
"""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import zstandard

from bench.images import MIB, compressible
from bench.in_process import Chain, Store
from bench.show import client
from bench.show.server import Server
from blockstore import clock
from blockstore.errors import BlockstoreError
from blockstore.names import new_name
from catalog.model.caller import Caller
from catalog.model.image import CHECKSUM, Upload
from catalog.model.pin import UploadKind
from catalog.ports import Written
from catalog.sql.records import open_records
from catalog.usecases import uploads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from blockstore.manifest_reader import ManifestReader
    from catalog.inventory import Records

RIGHT: Final = "right"
WRONG: Final = "wrong bytes"
FINELY: Final = {"block_size": "4KiB"}
_CALLER: Final = Caller("admin", "default", frozenset({"admin"}))
_HASH: Final = "sha512"


@dataclass(frozen=True, slots=True)
class Held:
    """A data directory that nobody serves, and its images: originals by id, and the manifests of each."""

    data: Path
    originals: Mapping[str, Path]
    chains: Mapping[str, Chain]


def make(work: Path) -> Held:
    """Four images by servers, cut fixed, finely and by content, and an increment; in three packs and five manifests."""
    data, images = work / "data", work / "images"
    images.mkdir()
    text, again, fine, shifted, newer = (images / name for name in ("text", "again", "fine", "shifted.iso", "newer"))
    _write(text, 3 * MIB + 12_345, seed=31)
    again.write_bytes(text.read_bytes()[: 2 * MIB] + random.Random(31).randbytes(MIB // 2 + 777))
    _write(fine, 5 * MIB + 99, seed=32)
    shifted.write_bytes(os.urandom(1000) + text.read_bytes() + random.Random(33).randbytes(MIB))
    newer.write_bytes(_changed(text.read_bytes()))
    originals: dict[str, Path] = {}
    with Server(data) as server:
        for image in (text, again, shifted):
            originals[upload(server, image)] = image
    with Server(data, settings=FINELY) as server:
        originals[upload(server, fine)] = fine
        increment = client.create(server.url, "increment")
    with open_records(data / "catalog.sqlite") as records:
        base = next(chain for image, chain in chains_of(records).items() if originals[image] == text)
        _commit(data, records, increment, newer, base)
        originals[increment] = newer
        return Held(data, originals, chains_of(records))


def chains_of(records: Records) -> dict[str, Chain]:
    """The manifests of each image that has data, newest first, by the image's id."""
    images = records.read(lambda uow: uow.inventory.images())
    named = {image.id: image.manifest for image in images if image.manifest is not None}
    return {
        image: [(link.name, link.digest) for link in records.read(lambda uow, name=name: uow.manifests.chain(name))]  # type: ignore[misc]  # mypy can't infer a lambda's defaults
        for image, name in named.items()
    }


def outcome(reader: ManifestReader, original: bytes) -> str:
    """RIGHT, WRONG, or the store's error: of the image's bytes, then of what is sent as stored, unpacked."""
    try:
        if b"".join(reader.read(0, reader.size)) != original:
            return WRONG
        stored = b"".join(reader.read_stored(*span) for span in reader.pieces(0, reader.size))
    except BlockstoreError as error:
        return f"{type(error).__name__}: {error}"
    unpacked = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
    try:
        return RIGHT if unpacked.read() == original else WRONG
    except zstandard.ZstdError:
        return WRONG


def flip(path: Path, byte: int, bit: int) -> None:
    """Turns one bit over; once more, and it is as it was."""
    with path.open("r+b") as file:
        file.seek(byte)
        old = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([old ^ 1 << bit]))


def _write(path: Path, size: int, seed: int) -> None:
    """Data with a hole of 512 KiB in it."""
    data = bytearray(b"".join(bytes(piece) for piece in compressible(size, seed)))
    data[MIB : MIB + MIB // 2] = bytes(MIB // 2)
    path.write_bytes(data)


def _changed(data: bytes) -> bytes:
    """A next version: some blocks are others, one is now zeros, and it is longer."""
    newer = bytearray(data + random.Random(34).randbytes(200_001))
    for block in (3, 7, 30):
        newer[block * 65536 : block * 65536 + 20_000] = random.Random(block).randbytes(20_000)
    newer[10 * 65536 : 11 * 65536] = bytes(65536)
    return bytes(newer)


def upload(server: Server, image: Path) -> str:
    """An image, cut as its suffix says; its id."""
    cutting = {"drystone_cutting": "content-defined"} if image.suffix == ".iso" else {}
    record = {"name": image.name, "disk_format": "raw", "container_format": "bare", **cutting}
    made = str(client.call(f"{server.url}/v2/images", "POST", record)["id"])
    client.run(client.put_command(server.url, made, image))
    return made


def _commit(data: Path, records: Records, image: str, content: Path, base: Chain) -> None:
    """Makes an increment over a held image the data of a queued one, by the steps that every upload takes."""
    below = base[0][0]
    # No sweep runs meanwhile that would ask whether such a process lives.
    upload = Upload(new_name().hex(), UploadKind.STREAM, new_name().hex())
    records.write(lambda uow: uploads.begin(uow, _CALLER, image, upload, at=clock.now(), bases=[below]))
    with Store(data) as store:
        name, digest = store.ingest(content, (), base=base)[0]
    hashes = {
        algorithm: hashlib.new(algorithm, content.read_bytes(), usedforsecurity=False).hexdigest()
        for algorithm in (_HASH, CHECKSUM)
    }
    written = Written(name, digest, len(base), content.stat().st_size, hashes, 0, 0, 0, 0, base=below)
    work = uploads.Commit(image, upload.id, written, _store_id(records), _HASH)
    records.write(lambda uow: uploads.commit(uow, work, at=clock.now()))


def _store_id(records: Records) -> str:
    """As the locations of the other images have it."""
    urls = [image.url for image in records.read(lambda uow: uow.inventory.images()) if image.url]
    return urls[0].removeprefix("blocks://").split("/")[0]
