"""Giving a project's images, and all that goes with them, to another project: when identities change.

Run by an operator, beside servers: in transactions of some hundred rows, so no request waits long. Each row is given
once, so one that was interrupted is just run again. What the giver's callers make meanwhile is not looked for again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from catalog.limits import Limits, check_text
from catalog.model.errors import Conflict, Invalid, NotFound
from catalog.model.image import canonical_id, is_image_id
from catalog.model.ownership import Handed, Handover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.inventory import Records
    from catalog.ports import UnitOfWork

AT_ONCE: Final = 500
"""Rows of a kind in one transaction."""


def handover(giver: str, taker: str, images: Sequence[str]) -> Handover:
    """What is to be given. Raises Invalid for projects and ids that are none."""
    for what, project in (("project that gives", giver), ("project that takes", taker)):
        if not project:
            raise Invalid(f"The {what} has no name.")
        check_text(what, project, Limits().name_length)
    if giver == taker:
        raise Invalid(f"Both projects are {giver}: there is nothing to give.")
    for image_id in images:
        if not is_image_id(image_id):
            raise Invalid(f"{image_id[:80]!r} is no image's id: name each by its full id.")
    return Handover(giver, taker, tuple(sorted({canonical_id(image_id) for image_id in images})))


def hand_over(records: Records, wanted: Handover, *, dry_run: bool, report: Callable[[Handed], None]) -> Handed:
    """Give it, or with `dry_run` count it; `report` is told after each transaction how much was given so far.

    Raises NotFound, Conflict (an image is neither's), before anything is given.
    """
    parts = _parts(wanted)
    for part in parts:
        records.read(partial(_check, wanted=part))
    done = Handed()
    for part in parts:
        if dry_run:
            done += records.read(partial(_count, wanted=part))
            continue
        more = True
        while more:
            given = records.write(partial(_give, wanted=part))
            # What came after the last full transaction is not waited for: a giver that goes on would never be done.
            more = given.fills(AT_ONCE)
            if given != Handed():
                done += given
                report(done)
    return done


def _parts(wanted: Handover) -> list[Handover]:
    if not wanted.images:
        return [wanted]
    starts = range(0, len(wanted.images), AT_ONCE)
    return [Handover(wanted.giver, wanted.taker, wanted.images[start : start + AT_ONCE]) for start in starts]


def _count(uow: UnitOfWork, wanted: Handover) -> Handed:
    return uow.ownership.count(wanted)


def _give(uow: UnitOfWork, wanted: Handover) -> Handed:
    return uow.ownership.hand_over(wanted, AT_ONCE)


def _check(uow: UnitOfWork, wanted: Handover) -> None:
    owners = uow.ownership.owners(wanted.images)
    for image_id in wanted.images:
        if image_id not in owners:
            raise NotFound(f"There is no image {image_id}; nothing was changed.")
        # The taker's own were given before: this is run again.
        if owners[image_id] not in {wanted.giver, wanted.taker}:
            raise Conflict(f"Image {image_id} is {owners[image_id]}'s, not {wanted.giver}'s; nothing was changed.")
