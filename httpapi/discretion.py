"""What is told of a failure of ours: an administrator hears what failed and where, anybody else what to do about it.

Messages of the store and the catalog name files, blocks and processes. Those are the operator's to know, and they stand
in the log, under the id that the answer has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore import errors as blocks
from catalog.model import errors as catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOG: Final = "whoever runs the service finds more in its log, under this request's id."

SENTENCES: Final[Mapping[type[Exception], str]] = {
    blocks.BlockstoreError: f"The store met a failure of its own; {_LOG}",
    blocks.StoreFull: f"The store is full, and nothing was stored. With more space the same request works; {_LOG}",
    blocks.StoreUnavailable: f"The store cannot do this now; try again. If it stays so, {_LOG}",
    blocks.Damaged: f"What this needs is damaged in the store; {_LOG}",
    blocks.Missing: f"What this needs is missing in the store; {_LOG}",
    blocks.JournalDamaged: "What this upload had acknowledged cannot be read any more: give it up, and push again.",
    catalog.CatalogError: f"The catalog met a failure of its own; {_LOG}",
    catalog.CatalogFull: f"The catalog has no space, and nothing was changed. With more the same request works; {_LOG}",
    catalog.CopyLost: f"The place that holds this image has lost its bytes; {_LOG}",
    catalog.ConversionFailed: f"This service cannot convert images now; try again. If it stays so, {_LOG}",
    catalog.ConversionUnavailable: "This service cannot convert images: who runs it must install what that needs.",
    catalog.StoreDown: f"The place that holds this image cannot be asked now; try again. If it stays so, {_LOG}",
    catalog.CatalogUnavailable: f"The catalog cannot do this now; try again. If it stays so, {_LOG}",
}
"""What anybody is told, by class; one that is not listed is told as the nearest class above it."""

_FULL_OR_LOST: Final = (blocks.StoreFull, catalog.CatalogFull, blocks.JournalDamaged)


def is_ours(error: Exception, status: int) -> bool:
    """Whether an error that is answered with `status` is a failure of the service, not of the request."""
    trees = (blocks.BlockstoreError, catalog.CatalogError)
    return isinstance(error, _FULL_OR_LOST) or (status >= 500 and isinstance(error, trees))


def sentence_for(error: Exception) -> str:
    """What anybody may hear of a failure that is ours."""
    return next(SENTENCES[each] for each in type(error).__mro__ if each in SENTENCES)
