"""Which blocks a root reaches: those that a live manifest lists, those in the journal of a live pin.

A manifest or a journal that cannot be read whole ends it with an error: what it holds is not known, so nobody may take
anything for garbage.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from blockstore import journal
from blockstore.errors import Damaged, JournalDamaged, Missing
from blockstore.manifest import ManifestFile
from blockstore.marks import Marks
from blockstore.roots import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.progress import Progress
    from blockstore.roots import ManifestRoot, PinRoot, Roots


def mark(store: BareStore, roots: Roots, progress: Progress) -> Marks:
    """All blocks that the roots reach; close it afterwards. Damaged or Missing names what cannot be read.

    For who only looks: uploads may end meanwhile, and their journals go.
    """
    marks = Marks()
    try:
        progress.begin("mark", len(roots.live))
        for done, root in enumerate(roots.live.values(), 1):
            for names in manifest_names(store.root, root):
                marks.add(names)
            progress.moved(done)
        for name, pin in roots.pins.items():
            with contextlib.suppress(Missing):
                for names in journal_names(store.root, name, pin):
                    marks.add(names)
    except Missing as error:
        marks.close()
        raise unknown_manifest(error) from error
    except BaseException:
        marks.close()
        raise
    return marks


def manifest_names(root: Path, wanted: ManifestRoot) -> Iterator[NDArray[np.uint8]]:
    """The digests that a manifest lists itself, some at a time, shape (n, 32). Damaged; Missing if its file is gone."""
    try:
        with contextlib.closing(ManifestFile(path_of(root, wanted.name), wanted.digest)) as manifest:
            yield from manifest.digests()
    except Damaged as error:
        raise unknown_manifest(error) from error


def journal_names(root: Path, name: str, pin: PinRoot, first: int = 0) -> Iterator[NDArray[np.uint8]]:
    """The digests of a journal's records from `first` on. JournalDamaged; Missing if its file is gone."""
    try:
        for records in journal.read(journal.path_of(root / "journals", name), pin.acknowledged, first):
            yield records["digest"]
    except Damaged as error:
        raise unknown_journal(error, pin) from error


def unknown_manifest(error: Damaged | Missing) -> Damaged | Missing:
    """The error for a live manifest that can't be read."""
    return type(error)(
        f"{error}; which blocks it holds is not known, so nothing was removed. Restore the file from a backup; or give "
        "up the images that need it, which `drystone admin verify` names: push them anew and delete those that are not "
        "deleted yet, then run `drystone admin gc --keep-deleted 0`, after which no deleted image can be brought back"
    )


def unknown_journal(error: Damaged | Missing, pin: PinRoot) -> JournalDamaged:
    """The error for a live pin's journal that can't be read."""
    return JournalDamaged(
        f"{error}; it is the journal of {pin.whose}. Which blocks it holds is not known, so nothing was removed: start "
        "a server, delete that image or give the upload up, then try again; or restore the file from a backup"
    )
