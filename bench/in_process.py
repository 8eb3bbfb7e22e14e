"""The block store without the wire: what an upload and a download cost when nobody sends anything."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from blockstore.names import new_name
from blockstore.pipeline.taps import HashTap
from blockstore.store import BlockStore

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from blockstore.manifest_writer import ManifestWriter
    from blockstore.pipeline.slabs import Slab

_BLOCK = 65536
_AHEAD = 3  # pieces read at once, as the catalog's reader does
_SWITCH_SECONDS = 0.0005  # as the server sets it


class Store:
    """A block store in this process, on a data directory; `close` before the directory is used elsewhere."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.chain: list[tuple[str, bytes]] = []  # of the image ingested last
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

    def ingest(self, image: Path, hashes: tuple[str, ...]) -> None:
        """The whole image by the pipeline, until its manifest is durable. The source is read by the calling thread."""
        share = self._store.slabs.admit(self._store.slab_size(_BLOCK))
        assert share is not None, "nothing else uses this store"
        pin = new_name().hex()
        writer = self._store.writer(pin, share, block_size=_BLOCK, taps=[HashTap(name) for name in hashes])
        with image.open("rb", buffering=0) as source:
            self._pump(source.fileno(), writer)
        manifest = writer.finish().result().manifest
        self._store.forget_journal(pin)
        self.chain = [(manifest.name, manifest.digest)]

    def read(self) -> int:
        """The image ingested last, verified, a few pieces ahead on the crew; its size."""
        reader = self._store.reader(self.chain)
        loading: deque[Future[bytes]] = deque()
        seen = 0
        for start, stop in reader.pieces(0, reader.size):
            loading.append(self._store.crew.call(lambda start=start, stop=stop: reader.load(start, stop)))  # type: ignore[misc]  # mypy can't infer a lambda's defaults
            if len(loading) == _AHEAD:
                seen += len(loading.popleft().result())
        seen += sum(len(one.result()) for one in loading)
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


def filled(data: Path, image: Path) -> Path:
    """A data directory that holds the image's blocks, closed."""
    with Store(data) as store:
        store.ingest(image, ())
    return data


def copied(data: Path, target: Path) -> Path:
    """A copy of a closed data directory."""
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(data, target)
