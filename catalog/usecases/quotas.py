"""Quotas: what a project may have and has, asked for in the transaction that would change it.

What is used is the database's own to keep (`README.md`, "Limits and quotas"): a use case that gives a project something
only asks here before.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from catalog.model.errors import Gone
from catalog.model.quota import NO_QUOTA, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.model.quota import Quota
    from catalog.ports import UnitOfWork
    from catalog.quota_ports import Said
    from catalog.usecases.services import Services


class Source(StrEnum):
    """Who said what a quota is, in the words of whoever can say it."""

    CATALOG = "admin quota"
    FILE = "quota_file"
    CATALOG_DEFAULT = "admin quota --default"
    FILE_DEFAULT = "quota_file [default]"


def effective(project: str, catalog: Said, file: Said) -> Quota:
    """The project's quota, of each kind the first that is said: of it by catalog, file; of all others by both."""
    return catalog.of(project).over(file.of(project)).over(catalog.default).over(file.default)


def quota_of(services: Services, uow: UnitOfWork, project: str | None) -> Quota:
    """The quota of a project, by one statement; nobody has none."""
    return NO_QUOTA if project is None else effective(project, uow.quotas.said(project), services.quotas)


def check(services: Services, uow: UnitOfWork, project: str | None, asked: Usage) -> None:
    """Refuse what would be too much for the project: QuotaExceeded."""
    quota = quota_of(services, uow, project)
    if project is not None and not quota.is_off:
        quota.check(project, uow.quotas.usage(project), asked)


def admit(services: Services, uow: UnitOfWork, project: str | None, size: int | None) -> int:
    """The bytes that one more upload is to reserve. `size` None is unknown: as many as there are, up to a step.

    0 of an unknown size where no quota bounds it. Raises LimitExceeded, QuotaExceeded.
    """
    services.limits.check_uploads(uow.deltas.under_way(project))
    if size is not None:
        services.limits.check_size(size)
    quota = quota_of(services, uow, project)
    if project is None or quota.is_off:
        return size or 0
    usage = uow.quotas.usage(project)
    if size is not None:
        quota.check(project, usage, Usage(uploads=1, staged_bytes=size))
        return size
    room = quota.room(usage)
    quota.check(project, usage, Usage(uploads=1, staged_bytes=0 if room is None else 1))
    return 0 if room is None else min(services.limits.reserve_step, room)


def reserve_more(services: Services, uow: UnitOfWork, image_id: str, upload_id: str, more: int) -> int:
    """Let an upload under way reserve so much more, and a step if there is as much; how much it was.

    Raises QuotaExceeded, and Gone when the upload is over.
    """
    pin = next((pin for pin in uow.pins.of_image(image_id) if pin.id == upload_id), None)
    if pin is None:
        raise Gone(f"Image {image_id} was deleted, or its upload ended, while its data was uploaded.")
    quota = quota_of(services, uow, pin.owner)
    granted = max(services.limits.reserve_step, more)
    if pin.owner is not None and not quota.is_off:
        usage = uow.quotas.usage(pin.owner)
        quota.check(pin.owner, usage, Usage(staged_bytes=more))
        room = quota.room(usage)
        granted = granted if room is None else min(granted, room)
    uow.pins.reserve(pin.id, granted)
    return granted


def who_says(name: str, project: str, catalog: Said, file: Said) -> Source | None:
    """Where the project's quota of this name is said; None if nowhere."""
    said = (
        (Source.CATALOG, catalog.of(project)),
        (Source.FILE, file.of(project)),
        (Source.CATALOG_DEFAULT, catalog.default),
        (Source.FILE_DEFAULT, file.default),
    )
    return next((source for source, quota in said if getattr(quota, name) is not None), None)


def miscounted(uow: UnitOfWork) -> Sequence[str]:
    """A sentence for each project whose counters are not what a count over all images gives."""
    kept, counted = uow.quotas.all_usage(), uow.quotas.counted()
    return [
        f"project {project!r} is said to have {_counts(kept.get(project))}, and has {_counts(counted.get(project))}: "
        "`drystone admin quota recount` puts that right"
        for project in sorted(kept.keys() | counted.keys())
        if kept.get(project) != counted.get(project)
    ]


def _counts(usage: Usage | None) -> str:
    return "nothing" if usage is None else f"{usage.images} images of {usage.bytes} bytes"


async def usage_of(services: Services, caller: Caller) -> tuple[Quota, Usage]:
    """The quota of the caller's project, and what it has."""

    def look(uow: UnitOfWork) -> tuple[Quota, Usage]:
        return quota_of(services, uow, caller.project), uow.quotas.usage(caller.project)

    return await services.database.read(look)
