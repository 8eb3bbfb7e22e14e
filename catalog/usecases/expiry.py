"""The end of the time for which deleted images are kept: what a collection does before it looks for what is live."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from catalog.model.errors import CatalogFull
from catalog.usecases.coalescing import let_go
from catalog.usecases.copying import let_go_copies

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from blockstore.roots import Roots
    from catalog.inventory import Records
    from catalog.ports import UnitOfWork

AT_ONCE: Final = 100
"""So many images are given up in one transaction: others wait for it."""

_ALL: Final = 1 << 31


def expire_deleted(uow: UnitOfWork, now: datetime, keep: timedelta, most: int = AT_ONCE) -> int:
    """Give up kept images that were deleted `keep` ago or before, the oldest first; how many, so many at most.

    Their manifests and copies are let go as by every deletion. To be asked again until it gives 0: then what they alone
    had is retired. Two that do it at once share the work; an undelete between them takes what it finds.
    """
    count = 0
    for image_id in uow.deleted.due(now - keep, most):
        dropped = uow.deleted.drop(image_id)
        if dropped is None:
            continue
        count += 1
        for manifest in dropped.manifests:
            let_go(uow, manifest, at=now)
        let_go_copies(uow, image_id, dropped.copies, at=now)
    return count


def expire_all(records: Records, now: datetime, keep: timedelta) -> int:
    """Give up all of them, in committed transactions; how many. Raises CatalogFull where not even one goes."""
    total, most = 0, AT_ONCE
    while True:
        try:
            count = records.write(partial(expire_deleted, now=now, keep=keep, most=most))
        except CatalogFull:
            # On a full disk a small transaction may find the room that a large one does not.
            if most == 1:
                raise
            most = 1
            continue
        if not count:
            return total
        total += count


def as_if_expired(uow: UnitOfWork, roots: Roots, now: datetime, keep: timedelta) -> tuple[Roots, int]:
    """What the roots would be after `expire_all`, and how many images it would give up; nothing is changed.

    What retirement decides step by step is told here at once: live is what is named, and what that reads through.
    """
    live = {root.name for name in uow.deleted.named(now - keep) for root in roots.chain(name)}
    left = {name: root for name, root in roots.live.items() if name in live}
    retired = roots.retired | (roots.live.keys() - live)
    return replace(roots, live=left, retired=retired), len(uow.deleted.due(now - keep, _ALL))
