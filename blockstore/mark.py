"""Marking what roots reach: the blocks of live manifests and of the journals of live pins.

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
    from blockstore.bare_store import BareStore
    from blockstore.progress import Progress
    from blockstore.roots import PinRoot, Roots


def mark(store: BareStore, roots: Roots, progress: Progress, *, alone: bool) -> Marks:
    """All blocks that the roots reach; close it afterwards. Damaged or Missing names what cannot be read.

    Not `alone`: uploads may end meanwhile, and their journals go.
    """
    marks = Marks()
    try:
        progress.begin("mark", len(roots.live))
        for done, root in enumerate(roots.live.values(), 1):
            _mark_manifest(store, root.name, root.digest, marks)
            progress.moved(done)
        for name, pin in roots.pins.items():
            _mark_journal(store, name, pin, marks, alone=alone)
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


def _mark_journal(store: BareStore, name: str, pin: PinRoot, marks: Marks, *, alone: bool) -> None:
    try:
        for records in journal.read(journal.path_of(store.root / "journals", name), pin.acknowledged):
            marks.add(records["digest"])
    except Missing as error:
        # A stream's is made with its first record.
        if alone and pin.acknowledged:
            raise _unknown(error, pin) from error
    except Damaged as error:
        raise _unknown(error, pin) from error


def _unknown(error: Damaged | Missing, pin: PinRoot) -> JournalDamaged:
    return JournalDamaged(
        f"{error}; it is the journal of {pin.whose}. Which blocks it holds is not known, so nothing was removed: start "
        "a server, delete that image or give the upload up, then try again; or restore the file from a backup"
    )
