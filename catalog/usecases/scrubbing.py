"""Scrubbing and damage, with names: which images cannot be read whole, and the report that is kept of it.

Synchronous, as `administration.py`, and in a process of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore import clock, manifest_copies, scrub
from blockstore.errors import BlockstoreError
from blockstore.roots import path_of
from catalog.health import HarmedImage, Health, keep
from catalog.usecases.administration import images_harmed, roots_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from blockstore.bare_store import BareStore
    from blockstore.progress import Progress
    from blockstore.scrub import Scrubbed, Scrubbing
    from catalog.inventory import Records

log = logging.getLogger("drystone.scrub")
MOST_LOGGED: Final = 100


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a pass found, and the images that cannot be read whole now, whoever found that."""

    scrubbed: Scrubbed
    harmed: Sequence[HarmedImage]


def scrub_all(store: BareStore, records: Records, how: Scrubbing, progress: Progress) -> ScrubReport:
    """A pass, to its end."""
    scrubbed = scrub.scrub(store, how, progress, lambda: records.read(roots_of))
    return ScrubReport(scrubbed, look_for_harm(store, records))


def look_for_harm(store: BareStore, records: Records) -> list[HarmedImage]:
    """Find out which images what is marked as damaged harms, and keep it; manifests are read, no pack is."""
    harmed, bad = harmed_now(store, records)
    keep(store, Health(clock.now_us(), bad, harmed))
    return harmed


def log_report(report: ScrubReport) -> None:
    """What a pass found, for the log of whoever shows no report."""
    for finding in report.scrubbed.looked.findings[:MOST_LOGGED]:
        level = logging.WARNING if finding.harmless else logging.ERROR
        log.log(level, "%s bytes %d-%d: %s", finding.file, finding.begins, finding.ends, finding.what)
    log_harm(report.harmed)


def log_harm(harmed: Sequence[HarmedImage]) -> None:
    """The images that cannot be read whole, for the log."""
    for image in harmed:
        what = f"{image.blocks} of its blocks are damaged" if image.blocks else "a manifest of it cannot be read"
        log.error("image %s (%s) cannot be read whole: %s", image.id, image.name or "without a name", what)


def harmed_now(store: BareStore, records: Records) -> tuple[list[HarmedImage], int]:
    """The images that show a block which is marked as damaged, or whose manifest cannot be read; and such blocks."""
    bad = [name for name, _ in store.index.bad_rows()]
    return images_harmed(store, records, bad), len(bad)


def mend_manifests(store: BareStore, records: Records, names: Iterable[str]) -> list[str]:
    """Write damaged copies of these live manifests anew; gives their files. What cannot be mended is logged."""
    live = records.read(roots_of).live
    mended = []
    for root in [live[name] for name in names if name in live]:
        path = path_of(store.root, root.name)
        for copy in manifest_copies.copies_of(path):
            if copy.exists() and not list(manifest_copies.check_copy(copy, root.digest)):
                continue
            try:
                manifest_copies.mend(path, root.digest, copy, store.disk)
            except BlockstoreError as error:
                log.warning("%s is damaged and could not be mended: %s", copy, error)
            else:
                log.warning("%s was damaged and is written anew from the other copy", copy)
                mended.append(str(copy))
    return mended
