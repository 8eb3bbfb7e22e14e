"""Which kinds of jobs there are, who does them, and how often each is tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from catalog.jobs.coalesce_chain import coalesce_chain
from catalog.jobs.hash_image import hash_image
from catalog.jobs.import_image import import_image
from catalog.jobs.location_import import location_import
from catalog.jobs.put_back import put_back
from catalog.model.importing import CONVERT, IMPORT, IMPORT_TASK
from catalog.model.job import Retries
from catalog.model.task import COALESCE, HASH, LOCATION_IMPORT, PUT_BACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from catalog.jobs.context import JobContext
    from catalog.jobs.steps import Effect


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job.

    `run` does the work; the effect that it gives changes the catalog when the job ends, `context.change` before. It may
    be cancelled at any await and run again from the start, by another process too. It raises JobCancelled when what it
    works on is gone and JobFailed when trying again is useless; any other error is a failed try.
    """

    run: Callable[[JobContext], Awaitable[Effect]]
    retries: Retries = field(default_factory=Retries)


KINDS: Final[Mapping[str, Kind]] = {
    HASH: Kind(hash_image),
    COALESCE: Kind(coalesce_chain),
    PUT_BACK: Kind(put_back, Retries(tries=6, first=2.0)),
    IMPORT: Kind(import_image),
    IMPORT_TASK: Kind(import_image),
    CONVERT: Kind(import_image),
    LOCATION_IMPORT: Kind(location_import, Retries(tries=4)),
}
