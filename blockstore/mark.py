"""Marking what roots reach: the blocks of live manifests and of the journals of live pins.

A manifest or a journal that cannot be read whole ends it with an error: what it holds is not known, so nobody may take
anything for garbage.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
from typing import TYPE_CHECKING

import numpy as np

from blockstore import journal, listing
from blockstore.disk import disk_errors
from blockstore.errors import Damaged, Missing
from blockstore.manifest import ManifestFile
from blockstore.marks import Marks
from blockstore.roots import path_of

if TYPE_CHECKING:
    from io import BufferedReader

    from blockstore.bare_store import BareStore
    from blockstore.listing import Listed
    from blockstore.progress import Progress
    from blockstore.roots import Roots

PIECE = 1 << 16
"""Records of a journal that are marked at a time."""


def mark(store: BareStore, roots: Roots, progress: Progress) -> Marks:
    """All blocks that the roots reach; close it afterwards. Damaged or Missing names what cannot be read."""
    marks = Marks()
    try:
        progress.begin("mark", len(roots.live))
        for done, root in enumerate(roots.live.values(), 1):
            _mark_manifest(store, root.name, root.digest, marks)
            progress.moved(done)
        for listed in listing.journals(store.root):
            if listed.name in roots.pins:
                _mark_journal(listed, marks)
    except BaseException:
        marks.close()
        raise
    return marks


def _mark_manifest(store: BareStore, name: str, digest: bytes, marks: Marks) -> None:
    try:
        with contextlib.closing(ManifestFile(path_of(store.root, name), digest)) as manifest:
            for names in manifest.digests():
                marks.add(names)
    except (Damaged, Missing) as error:
        raise type(error)(
            f"{error}; which blocks it holds is not known, so nothing was removed: `drystone admin verify` names the "
            "images that need it; delete them, or restore the file from a backup"
        ) from error


def _mark_journal(listed: Listed, marks: Marks) -> None:
    if not listed.size:
        return
    # Mapped, since the journal of a huge upload has 56 bytes a block; a journal only grows.
    with disk_errors(str(listed.path)), listed.path.open("rb") as file, _mapped(file) as data:
        records = journal.decode(data, str(listed.path))
        while digests := [record.digest for record in itertools.islice(records, PIECE)]:
            marks.add(_array(digests))


def _mapped(file: BufferedReader) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _array(digests: list[bytes]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
