"""What is said of a failed try: in full to administrators and the log, and what a project may hear of it.

Messages of the stores and the catalog name files, blocks and addresses, and those of a fault of ours anything at all.
Those are the operator's to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore import errors as blocks
from catalog.model import errors as catalog
from catalog.model.job import JobFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOG: Final = "whoever runs the service finds more in its log, under this task's id."
_FAULT: Final = f"A fault of the service; {_LOG}"
_THOUGHT_OF: Final = (blocks.BlockstoreError, catalog.CatalogError, JobFailed, OSError)
_OURS: Final[Mapping[type[BaseException], str]] = {
    OSError: f"The system refused what this needs; {_LOG}",
    blocks.BlockstoreError: f"The store met a failure of its own; {_LOG}",
    blocks.StoreFull: f"The store is full; {_LOG}",
    blocks.StoreUnavailable: f"The store cannot do this now; {_LOG}",
    blocks.Damaged: f"What this needs is damaged in the store; {_LOG}",
    blocks.Missing: f"What this needs is missing in the store; {_LOG}",
    catalog.CatalogFull: f"The catalog has no space; {_LOG}",
    catalog.CatalogUnavailable: f"The catalog cannot do this now; {_LOG}",
    catalog.StoreDown: f"A store cannot be asked now; {_LOG}",
    catalog.CopyLost: f"A store has lost the image's bytes; {_LOG}",
}
"""By class; one that is not listed is told as the nearest class above it, and what none is above as it is."""


def is_thought_of(error: BaseException) -> bool:
    """Whether its message says it all: nobody needs to see where it was raised."""
    return isinstance(error, _THOUGHT_OF)


def in_full(error: BaseException) -> str:
    """A sentence that says what failed and where."""
    if isinstance(error, OSError):
        text = f"the system refused: {error.strerror or error}"
    elif is_thought_of(error):
        text = str(error)
    else:
        text = f"a fault of the service ({type(error).__name__}: {error}); its log has the trace"
    text = text.strip()[:1000]
    return text if text.endswith(".") else text + "."


def as_told(error: BaseException) -> str:
    """What a member of the task's project may hear."""
    if not is_thought_of(error):
        return _FAULT
    return next((_OURS[each] for each in type(error).__mro__ if each in _OURS), in_full(error))
