"""Files that nothing needs: retired manifests, and what writers left that never got a record.

A manifest's file is made before its record, a session's journal before its pin. Whoever makes one keeps it locked until
the transaction that would name it is over (`unnamed.py`). So a file is nobody's if its lock can be taken, and a
*certain* snapshot (`Ledger`), read after that, does not name it: then no transaction ever will, not even one that
failed, or whose process died, in its commit. Names are never used again.

A stream's journal is made after its pin, so one without a pin is nobody's at once. What lies beside a manifest, under
its name, is made after it and goes with it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Final

from blockstore import listing, manifest
from blockstore.disk import disk_errors
from blockstore.leases.flock import live_files, try_lock
from blockstore.roots import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from blockstore.listing import Listed
    from blockstore.roots import Ledger, Roots

    Snapshot = Callable[[], Roots | None]

MANIFEST: Final = manifest.SUFFIX
BESIDE: Final = (listing.places, listing.seconds)
"""What lies beside manifests, under their names."""
_AT_ONCE: Final = 200
"""Files whose locks are held at a time."""


def retired(store: BareStore, roots: Roots) -> list[Listed]:
    """The files of retired manifests, those beside them first."""
    kinds = (*BESIDE, listing.manifests)
    return [listed for kind in kinds for listed in kind(store.root) if listed.name in roots.retired]


def remove_retired(store: BareStore, ledger: Ledger, roots: Roots) -> list[Listed]:
    """Unlink them, then let their records go: until then these say what is still to be removed. Gives the files."""
    files = retired(store, roots)
    _unlink(store, files)
    if roots.retired:
        ledger.forget_retired(sorted(roots.retired))
    return files


def unnamed_manifests(store: BareStore, roots: Snapshot, certain: Snapshot) -> Iterator[Sequence[Listed]]:
    """Manifests' files that nobody ever names, some at a time; locked until the next ones are asked for.

    As the `certain` snapshot says, which is read under their locks; the other one only tells which to look at. None of
    them where there is no certain one.
    """
    found = listing.manifests(store.root)
    yield from _nobodys(found, roots, certain, lambda now, name: name in now.live or name in now.retired)


def unnamed_journals(store: BareStore, roots: Snapshot, certain: Snapshot) -> Iterator[Sequence[Listed]]:
    """Journals that no pin has or ever will have, as `unnamed_manifests`."""
    yield from _nobodys(listing.journals(store.root), roots, certain, lambda now, name: name in now.pins)


def remove_unnamed(store: BareStore, ledger: Ledger) -> tuple[list[Listed], list[Listed]]:
    """Unlink what is nobody's; gives the manifests and the journals. Locks of dead owners go, too."""
    manifests: list[Listed] = []
    journals: list[Listed] = []
    for some in unnamed_manifests(store, ledger.roots, ledger.certain_roots):
        _unlink(store, some)
        manifests += some
    for some in unnamed_journals(store, ledger.roots, ledger.certain_roots):
        _unlink(store, some)
        journals += some
    _unlink(store, _strays(store, ledger))
    for folder in ("leases", "processes"):
        live_files(store.data.folder(folder))
    return manifests, journals


def _strays(store: BareStore, ledger: Ledger) -> list[Listed]:
    """Files beside no manifest, which is made before them; those of a live one that was lost stay."""
    listed = [each for kind in BESIDE for each in kind(store.root)]
    alone = [each for each in listed if not path_of(store.root, each.name).exists()]
    live = ledger.roots().live if alone else {}
    return [each for each in alone if each.name not in live]


def _nobodys(
    files: Iterable[Listed], roots: Snapshot, certain: Snapshot, is_named: Callable[[Roots, str], bool]
) -> Iterator[Sequence[Listed]]:
    """Listed first, so that most are passed over after one snapshot; then each is locked and asked for again."""
    listed = list(files)
    now = roots() if listed else None
    doubted = iter([each for each in listed if now is not None and not is_named(now, each.name)])
    while some := list(itertools.islice(doubted, _AT_ONCE)):
        with contextlib.ExitStack() as locks:
            free = [each for each in some if _lock(each.path, locks)]
            if free:
                now = certain()
                if now is None:
                    # On a full disk they are left to the next run, which has the room that this one makes.
                    return
                yield [each for each in free if not is_named(now, each.name)]


def _lock(path: Path, locks: contextlib.ExitStack) -> bool:
    with disk_errors(str(path)):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
    locks.callback(os.close, fd)
    return try_lock(fd)


def _unlink(store: BareStore, files: Iterable[Listed]) -> None:
    """Remove files; durable when this returns."""
    folders = set()
    for listed in files:
        store.disk.unlink(listed.path)
        folders.add(listed.path.parent)
    for folder in sorted(folders):
        store.disk.sync_directory(folder)
