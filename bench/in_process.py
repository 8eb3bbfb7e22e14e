"""The block store without the wire: what an upload and a download cost when nobody sends anything.

    python -m bench.in_process DATA [--hash NAME]... IMAGE...

ingests the images at once when a line comes on standard input: `ready` before, `done` after it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from blockstore.names import new_name
from blockstore.pipeline.taps import HashTap
from blockstore.store import BlockStore
from chunker.cutting import Cutting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from blockstore.manifest_reader import ManifestReader
    from blockstore.manifest_writer import ManifestWriter
    from blockstore.pipeline.slabs import Slab

Chain = list[tuple[str, bytes]]
"""An image's manifests, newest first: file name and digest."""
_CUTTING = Cutting(size=65536)
_AHEAD = 3  # pieces read at once, as the catalog's reader does
_SWITCH_SECONDS = 0.0001  # as the server sets it


class Store:
    """A block store in this process, on a data directory; `close` before the directory is used elsewhere."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.chain: Chain = []  # of the image ingested last
        self._switching = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._store = BlockStore.open(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()
        sys.setswitchinterval(self._switching)

    def ingest(self, image: Path, hashes: Sequence[str], base: Chain | None = None) -> Chain:
        """The whole image by the pipeline, until its manifest is durable. The source is read by the calling thread.

        `base`: the manifests of an image that is held, compared with first.
        """
        share = self._store.slabs.admit(self._store.slab_size(_CUTTING))
        assert share is not None, "nothing but a few images at once uses this store"
        pin = new_name().hex()
        taps = [HashTap(name) for name in hashes]
        writer = self._store.writer(pin, share, cutting=_CUTTING, base=base or [], taps=taps)
        with image.open("rb", buffering=0) as source:
            self._pump(source.fileno(), writer)
        manifest = writer.finish().result().manifest
        self._store.forget_journal(pin)
        self.chain = [(manifest.name, manifest.digest), *(base or [])]
        return self.chain

    def ingest_all(self, images: Sequence[Path], hashes: Sequence[str]) -> None:
        """Several images at once, each by a thread of its own, as clients would send them."""
        if len(images) == 1:
            self.ingest(images[0], hashes)
            return
        with ThreadPoolExecutor(len(images)) as pool:
            for one in [pool.submit(self.ingest, image, hashes) for image in images]:
                one.result()

    def read(self, chain: Chain | None = None) -> int:
        """An image, by default the one ingested last, verified, a few pieces ahead on the crew; its size."""
        reader = self._store.reader(chain or self.chain)
        rooms = deque(memoryview(bytearray(reader.piece)) for _ in range(_AHEAD))
        loading: deque[Future[int]] = deque()
        seen = 0
        for start, stop in reader.pieces(0, reader.size):
            loading.append(self._store.crew.call(partial(_load, reader, start, stop, rooms[0])))
            rooms.rotate(-1)
            if len(loading) == _AHEAD:
                seen += loading.popleft().result()
        seen += sum(one.result() for one in loading)
        reader.close()
        return seen

    def _pump(self, source: int, writer: ManifestWriter) -> None:
        last = False
        while not last:
            slab = self._next(writer)
            filled = slab.head
            while filled < len(slab.view) and not last:
                got = os.readv(source, [slab.view[filled:]])
                filled += got
                last = not got
            writer.submit(slab, filled, last=last)

    def _next(self, writer: ManifestWriter) -> Slab:
        while (slab := writer.acquire()) is None:
            freed = threading.Event()
            self._store.slabs.when_free(freed.set)
            slab = writer.acquire()
            if slab is not None:
                break
            freed.wait()
        return slab


def _load(reader: ManifestReader, start: int, stop: int, room: memoryview) -> int:
    reader.load_into(start, stop, room[: stop - start])
    return stop - start


def filled(data: Path, image: Path) -> Path:
    """A data directory that holds the image's blocks, closed."""
    with Store(data) as store:
        store.ingest(image, ())
    return data


def copied(data: Path, target: Path) -> Path:
    """A copy of a closed data directory. Its packs are sealed and never written again: they are linked, which leaves
    no written pages behind that the next fsync would have to wait for.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(data, target, ignore=lambda place, _: ["packs"] if Path(place) == data else [])
    shutil.copytree(data / "packs", target / "packs", copy_function=os.link)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.in_process", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--hash", action="append", default=[])
    wanted = parser.parse_args()
    with Store(wanted.data) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        store.ingest_all(wanted.images, wanted.hash)
        print("done", flush=True)


if __name__ == "__main__":
    main()
